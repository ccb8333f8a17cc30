"""The matrix: every way to damage a prepared home, and every harmless way to change one.

A row is a change with the verdict that must follow; the table is in these modules, one for each
kind. ``make matrix`` makes every change to a really prepared home and runs ``pytest --offline`` on
it, as a user would; the rows that need no load are in ``make test`` as well.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from prep.catalogue.lock import LockedModel
from prep.home.layout import Home

Expect = Literal["failed", "exit 4", "passed"]
Online = Literal["repaired", "failed", "ready"]
Scope = Literal["model", "home"]

EVERY_FILE = ("*",)  # that the lock names


@dataclass(slots=True, kw_only=True)
class Target:
    """One model in a prepared home, and the run that will judge it; a row may change either.

    `scratch` is a folder outside the home. `catalogue` is this run's own, with lock and goldens
    beside it. `env` and `prefix` (another command in front) are the run's.
    """

    name: str
    home: Home
    locked: LockedModel
    task: str
    scratch: Path
    catalogue: Path
    env: dict[str, str] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()

    @property
    def repo(self) -> Path:
        return self.home.repo(self.locked.repo)

    @property
    def snapshot(self) -> Path:
        return self.home.snapshot(self.locked.repo, self.locked.commit)

    @property
    def weights(self) -> Path:
        return self.snapshot / "model.safetensors"

    @property
    def ref(self) -> Path:
        return self.home.ref(self.locked.repo)

    @property
    def conversions(self) -> Path:
        return self.home.conversions(self.locked.repo)

    @property
    def stable(self) -> Path:
        return self.home.stable(self.locked.repo, "int8")

    @property
    def folder(self) -> Path:
        """The converted folder itself, named by its recipe's digest."""
        return self.stable.resolve()

    @property
    def ir(self) -> Path:
        """The largest binary of the converted model."""
        return max(self.folder.glob("openvino_*.bin"), key=lambda path: path.stat().st_size)

    @property
    def lock(self) -> Path:
        return self.catalogue.with_name(f"{self.catalogue.stem}.lock.toml")

    @property
    def goldens(self) -> Path:
        return self.catalogue.parent / "goldens" / f"{self.name}.toml"

    @property
    def small(self) -> str:
        """The smallest locked file: a configuration of any model."""
        return min(self.locked.files, key=lambda file: file.size).path


def nothing(target: Target) -> None:
    """No change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A change, and what must follow.

    `seen_by` are the judges that must fail, `may_see` others that may; any other that fails means
    that it was seen for another reason, which is missing it. Their message must name `file` (or a
    setting) and hold `words`. `online` is what a run makes of it that may repair: "ready" is work
    and no damage; it fetches `fetches` again and no more (`EVERY_FILE`: all that are locked).

    Rows of scope "model" share a home, each with a model of its own; those of scope "home" change
    what models share, or the run. Harmless rows that are tried `together` are done to one model.
    `damage_repo` changes the repository before it is locked, fetched and converted; `entry` adds
    keys to the model's entry in the catalogue.
    """

    name: str
    group: str
    do: Callable[[Target], object] = nothing
    expect: Expect = "failed"
    seen_by: tuple[str, ...] = ()
    may_see: tuple[str, ...] = ()
    file: str = ""
    words: tuple[str, ...] = ()
    online: Online = "failed"
    fetches: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ("embedding",)
    scope: Scope = "model"
    together: str = ""
    damage_repo: Callable[[Path], object] | None = None
    entry: Mapping[str, str] = field(default_factory=dict)
    true: bool = True


def kind(*remedy: str, **always: Any) -> Callable[..., Row]:
    """What makes rows of one kind, each by its name, its change, and the words of its message."""

    def make(name: str, do: Callable[[Target], object] = nothing, *words: str, **own: Any) -> Row:
        return Row(name=name, do=do, words=(*words, *remedy), **{**always, **own})

    return make


# Levels of judges that need no load: pins, layout and conversion.
WITHOUT_LOADS = (
    "test_lock_answers_the_catalogue",
    "test_source_is_what_the_lock_says",
    "test_nothing_asks_to_run_code",
    "test_nothing_converted_asks_to_run_code",
    "test_weights_are_what_their_headers_say",
    "test_name_leads_to_the_pin",
    "test_receipt_names_the_pin",
    "test_links_stay_inside_the_home",
    "test_everybody_can_read",
    "test_no_loader_takes_an_unlocked_file",
    "test_converted_links_stay_inside_the_home",
    "test_everybody_can_read_the_converted",
    "test_no_loader_takes_an_unlisted_converted_file",
    "test_converted_bytes_are_the_receipts",
    "test_content_is_right[weights]",
    "test_content_is_right[tokenizer]",
    "test_content_is_right[agreement]",
)


def is_cheap(row: Row) -> bool:
    """Whether all that must see the row needs no load, and it nothing prepared of its own."""
    seen = all(judge in WITHOUT_LOADS for judge in (*row.seen_by, *row.may_see))
    return row.expect == "exit 4" or (row.expect == "failed" and seen and not row.damage_repo)
