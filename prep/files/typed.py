"""Records as frozen dataclasses: read strictly from JSON, written to it, described by a schema.

A field `peak_bytes` is the key ``peak-bytes``; one with a default may be missing. What a type
does not say stands in `Annotated`: a limit (`Form`, `Range`, `Among`), a text about the key.
"""

import dataclasses
import functools
import re
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from prep.files.fields import COMMIT, MOST, MOST_SECONDS, REPO, SHA256, TIME, is_number, is_time

T = TypeVar("T")


class Misfit(ValueError):
    """A value is not of the wanted type; says where and what it is."""


@dataclass(frozen=True, slots=True)
class Form:
    """A text of that form, of at most so many characters; `check` sees what no pattern can."""

    pattern: re.Pattern[str]
    most: int | None = None
    check: Callable[[object], bool] = lambda _: True

    def fits(self, value: Any) -> bool:
        """Whether the whole text has the form."""
        short = self.most is None or len(value) <= self.most
        return short and bool(self.pattern.fullmatch(value)) and self.check(value)

    def schema(self) -> dict[str, Any]:
        """As JSON Schema says it."""
        return {"pattern": f"^(?:{self.pattern.pattern})$"} | (
            {"maxLength": self.most} if self.most else {}
        )


@dataclass(frozen=True, slots=True)
class Range:
    """A number from `least` to `most`."""

    least: float
    most: float

    def fits(self, value: Any) -> bool:
        """Whether it lies in the range."""
        return bool(self.least <= value <= self.most)

    def schema(self) -> dict[str, Any]:
        """As JSON Schema says it."""
        return {"minimum": self.least, "maximum": self.most}


@dataclass(frozen=True, slots=True)
class Among:
    """One of these texts."""

    values: tuple[str, ...]

    def fits(self, value: Any) -> bool:
        """Whether it is one of them."""
        return value in self.values

    def schema(self) -> dict[str, Any]:
        """As JSON Schema says it."""
        return {"enum": [*self.values]}


Commit = Annotated[str, Form(COMMIT, 40)]
Sha256 = Annotated[str, Form(SHA256, 64)]
Repo = Annotated[str, Form(REPO, 96)]
Time = Annotated[str, Form(TIME, check=is_time)]
Count = Annotated[int, Range(0, MOST)]
Seconds = Annotated[float, Range(0, int(MOST_SECONDS))]
Number = Annotated[float, Range(-MOST, MOST)]
Texts = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a record in JSON: the field, its type, and its default where it may be missing."""

    field: str
    kind: Any
    default: Any = MISSING


@functools.cache
def keys(kind: type) -> Mapping[str, Key]:
    """The keys of a dataclass."""
    hints = get_type_hints(kind, include_extras=True)
    found = {}
    for field in dataclasses.fields(kind):
        default = field.default
        if field.default_factory is not MISSING:
            default = field.default_factory()
        found[field.name.replace("_", "-")] = Key(field.name, hints[field.name], default)
    return found


def read(kind: type[T], value: object) -> T:
    """The record that a parsed JSON value is; `Misfit` where it is none."""
    made: T = _read(kind, value, "")
    return made


def read_or_none(kind: type[T], value: object) -> T | None:
    """The same, None where it is none."""
    try:
        return read(kind, value)
    except Misfit:
        return None


def plain(value: Any) -> Any:
    """A record as JSON has it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {key: plain(getattr(value, at.field)) for key, at in keys(type(value)).items()}
    if isinstance(value, Mapping):
        return {key: plain(nested) for key, nested in value.items()}
    return [plain(nested) for nested in value] if isinstance(value, list | tuple) else value


def schema(kind: type, title: str) -> dict[str, Any]:
    """The JSON Schema of a record; each other dataclass in it has a place in ``$defs``."""
    inner: dict[str, Any] = {}
    whole = _of_record(kind, inner)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title}
    return {**head, **whole, "$defs": dict(sorted(inner.items()))}


def _read(kind: Any, value: Any, place: str) -> Any:
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        made = _read(args[0], value, place)
        limits = (limit for limit in args[1:] if not isinstance(limit, str))
        return made if all(limit.fits(made) for limit in limits) else _misfit(place, value)
    if origin in (Union, types.UnionType):
        for choice in args:
            try:
                return _read(choice, value, place)
            except Misfit:
                continue
    elif origin is Literal:
        if any(type(value) is type(known) and value == known for known in args):
            return value
    elif origin is tuple:
        if isinstance(value, list | tuple):
            kinds = args if args[-1] is not ... else (args[0],) * len(value)
            if len(kinds) == len(value):
                pairs = enumerate(zip(kinds, value, strict=True))
                return tuple(_read(inner, item, f"{place}[{n}]") for n, (inner, item) in pairs)
    elif dataclasses.is_dataclass(kind):
        if isinstance(value, Mapping):
            return _record(kind, value, place)
    elif origin is not None:
        if isinstance(value, Mapping):
            return {
                _read(args[0], key, place): _read(args[1], item, f"{place}.{key}")
                for key, item in value.items()
            }
    elif is_number(value) if kind is float else type(value) is kind:
        return value
    return _misfit(place, value)


def _record(kind: Any, value: Mapping[str, Any], place: str) -> Any:
    known = keys(kind)
    unknown = value.keys() - known.keys()
    missing = [key for key, at in known.items() if key not in value and at.default is MISSING]
    if unknown or missing:
        raise Misfit(f"{place or 'the record'}: unknown {sorted(unknown)}, missing {missing}")
    return kind(
        **{
            at.field: _read(at.kind, value[key], f"{place}.{key}") if key in value else at.default
            for key, at in known.items()
        }
    )


def _misfit(place: str, value: object) -> Any:
    raise Misfit(f"{place or 'the record'} cannot be {str(value)[:60]!r}")


NAMES = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}


def _schema(kind: Any, inner: dict[str, Any]) -> dict[str, Any]:
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        made = _schema(args[0], inner)
        for more in args[1:]:
            made |= {"description": more} if isinstance(more, str) else more.schema()
        return made
    if origin in (Union, types.UnionType):
        return {"oneOf": [_schema(choice, inner) for choice in args]}
    if origin is Literal:
        return {"const": args[0]} if len(args) == 1 else {"enum": [*args]}
    if origin is tuple:
        if args[-1] is ...:
            return {"type": "array", "items": _schema(args[0], inner)}
        kinds = [_schema(kind, inner) for kind in args]
        return {"type": "array", "prefixItems": kinds, "items": False, "minItems": len(kinds)}
    if dataclasses.is_dataclass(kind):
        name: str = kind.__name__  # type: ignore[union-attr]  # a class
        if name not in inner:
            inner[name] = {}  # what lies in itself refers to itself
            inner[name] = _of_record(kind, inner)
        return {"$ref": f"#/$defs/{name}"}
    if origin is not None:
        names = _schema(args[0], inner)
        return {
            "type": "object",
            **({"propertyNames": names} if len(names) > 1 else {}),
            "additionalProperties": _schema(args[1], inner),
        }
    return {"type": NAMES[kind]}


def _of_record(kind: Any, inner: dict[str, Any]) -> dict[str, Any]:
    known = keys(kind)
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [key for key, at in known.items() if at.default is MISSING],
        "properties": {key: _schema(at.kind, inner) for key, at in known.items()},
    }
