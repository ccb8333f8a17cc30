"""Bytes that a reader may meet: a valid file that was changed, and files made to be hard to read.

`inputs` is a strategy of hypothesis: few changes to the parsed document or to the raw bytes, each
of a kind that once broke some reader. `extremes` are always the same: as large as is allowed.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Literal

from hypothesis import strategies as st

Form = Literal["json", "lines", "toml", "safetensors", "text"]

DEEP = "[" * 500 + "]" * 500
# What may stand in place of any value, as JSON has it.
VALUES = (
    *("null", "true", "false", "0", "1", "-1", "-0.0", "0.5", "1e308", "1e999", "-1e999", "1e-400"),
    *("NaN", "Infinity", "-Infinity", str(2**63), str(10**30), str(-(10**30)), "9" * 4000),
    *("9" * 5000, "1." + "0" * 5000, "[]", "{}", "[[]]", "[null]", '{"a":1}', '[1,"a"]'),
    *('{"a":1,"a":2}', DEEP, "[" * 90 + "]" * 90, "[" * 50_000, '{"a":' * 70 + "1" + "}" * 70),
    *('""', '"a"', '" "', r'"\u0000"', r'"\ud800"', r'"\udc80\ud800"', r'"\u001b[31mred"'),
    *(r'"a\nb: ready"', '"../../x"', '"/etc/passwd"', '"a/../../b"', '"."', '"a//b"', '"a\\\\b"'),
    *('"é\u2028\ufeff"', f'"{"a" * 5000}"', f'"{"a/" * 3000}"', f'"{"../" * 500}"', '"*a*a*a*a*b"'),
    *('"0001-01-01T00:00:00+00:00"', '"9999-12-31T23:59:59+00:00"', '"2026-13-45T99:99:99+00:00"'),
    *('"ready"', '"failed"', '"int8"', '"acme/tiny"', '"acme/tiny.git"', f'"{"0" * 40}"'),
    *(f'"{"a" * 64}"', f"[{'0,' * 2000}0]", '"F64"', "[9223372036854775807,9223372036854775807]"),
)
# The same for TOML, where it differs; and what no JSON has.
TOML_VALUES = (
    *(value for value in VALUES if value[0] in '"[0123456789-tf' and "{" not in value),
    *("inf", "-inf", "nan", "1e999", "2026-01-01", "9999-12-31T23:59:59.999999+23:59", "07:32:00"),
    *(
        "0x" + "f" * 5000,
        "'''a\nb'''",
        '"""a\\\n  b"""',
        "{}",
        "{ a = 1 }",
        "{ a.b.c = 1, d = {} }",
    ),
    *("{" + "a = {" * 200, "[" * 5000),
)
PIECES = (
    *(b"", b"\x00", b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\n", b"\r", b"\r\n", b"{", b"}"),
    *(b"[", b"]", b'"', b",", b":", b"=", b".", b"\\", b"\\u", b"#", b"'''", b'"""', b"\x1b[2J"),
    *(b"9" * 400, b"\x00" * 100, b"a." * 300, b"\x80", b"\xe2\x80\xa8", b"\x85", b"\x0c", b"\x7f"),
)


@st.composite
def inputs(draw: st.DrawFn, seed: bytes, form: Form) -> bytes:
    """A valid file with one to three changes."""
    data = seed
    if form in ("json", "lines", "safetensors") and draw(st.integers(0, 3)):
        data = draw(_documents(seed, form))
    elif form == "toml" and draw(st.integers(0, 3)):
        data = draw(_tables(seed))
    elif form == "safetensors" or draw(st.booleans()):
        data = draw(_raw(data))
    if not draw(st.integers(0, 7)):
        data = draw(_raw(data))
    return data


@st.composite
def _documents(draw: st.DrawFn, seed: bytes, form: Form) -> bytes:
    """Changes to the parsed document: one line's, the header's, or all of it."""
    head, body, tail = _parts(seed, form)
    if form == "lines":
        lines = body.splitlines()
        chosen = draw(st.integers(0, len(lines) - 1))
        lines[chosen] = draw(_document(lines[chosen]))
        return b"\n".join(lines) + b"\n"
    changed = draw(_document(body))
    if form == "safetensors":
        length = draw(st.sampled_from([len(changed)] * 5 + [0, len(changed) + 1, 2**63, 2**64 - 1]))
        return length.to_bytes(8, "little") + changed + tail
    return head + changed + tail


@st.composite
def _document(draw: st.DrawFn, body: bytes) -> bytes:
    data = json.loads(body)
    raw: list[str] = []
    for _ in range(draw(st.integers(1, 3))):
        values = list(_values(data))
        if not values:
            break
        parent, key = draw(st.sampled_from(values))
        what = draw(st.sampled_from(("replace", "replace", "replace", "delete", "twice", "rename")))
        value = draw(st.sampled_from(VALUES))
        if what == "replace":
            parent[key] = _mark(raw, value)
        elif what == "delete":
            del parent[key]
        elif what == "rename" and isinstance(parent, dict):
            parent[json.loads(value) if value[0] == '"' else "other"] = parent.pop(key)
        elif isinstance(parent, list):
            parent.insert(key, parent[key])
        else:  # the key twice: JSON may say that, a dict cannot
            text = json.dumps(parent[key])
            parent[key] = _mark(raw, f"{value}, {json.dumps(key)}: {text}")
    return _rendered(data, raw)


def _mark(raw: list[str], value: str) -> str:
    raw.append(value)
    return f"@raw{len(raw) - 1}@"


def _rendered(data: Any, raw: list[str]) -> bytes:
    text = json.dumps(data, indent=1, sort_keys=True)
    for number, value in enumerate(raw):
        text = text.replace(f'"@raw{number}@"', value)
    return text.encode("utf-8", "surrogatepass")


def _values(data: Any) -> Iterator[tuple[Any, Any]]:
    """Every value below, by what holds it and its key there."""
    for key, value in data.items() if isinstance(data, dict) else enumerate(data):
        yield data, key
        if isinstance(value, dict | list):
            yield from _values(value)


@st.composite
def _tables(draw: st.DrawFn, seed: bytes) -> bytes:
    """Changes to the lines and values of a TOML file."""
    text = seed.decode()
    for _ in range(draw(st.integers(1, 3))):
        spans = [found.span(1) for found in re.finditer(r"=[ \t]*([^\n,}]+)", text)]
        begin, end = draw(st.sampled_from(spans or [(0, 0)]))
        value = draw(st.sampled_from(TOML_VALUES))
        what = draw(st.sampled_from(("value", "value", "value", "line", "key", "twice", "dotted")))
        start = text.rfind("\n", 0, begin) + 1
        stop = text.find("\n", end) + 1 or len(text)
        if what == "value":
            text = text[:begin] + value + text[end:]
        elif what == "line":
            text = text[:start] + text[stop:]
        elif what == "key":
            text = f"{text[:start]}other = {value}\n{text[start:]}"
        elif what == "twice":
            text = text[:stop] + text[start:stop] + text[stop:]
        else:
            text = f"{text[:start]}{'.'.join('a' * draw(st.integers(1, 60)))}.{text[start:]}"
    return text.encode("utf-8", "surrogatepass")


@st.composite
def _raw(draw: st.DrawFn, data: bytes) -> bytes:
    """Changes to the bytes, whatever they mean."""
    begin = draw(st.integers(0, len(data)))
    end = min(len(data), begin + draw(st.sampled_from((0, 1, 2, 8, 64, 1000))))
    piece = draw(st.sampled_from(PIECES) | st.binary(max_size=20))
    what = draw(st.sampled_from(("cut", "put", "head", "rest", "again", "other")))
    if what == "cut":
        return data[:begin]
    if what == "head":
        return piece + data
    if what == "rest":
        return data[begin:]
    if what == "again":
        return data + data[begin:]
    if what == "other":
        return draw(st.binary(max_size=200))
    return data[:begin] + piece + data[end:]


def extremes(seed: bytes, form: Form, most: int) -> Iterator[tuple[str, bytes]]:
    """Files of about `most` bytes, each with the name of what is hard about it."""
    yield "empty", b""
    yield "newlines", b"\n" * most
    yield "NUL", b"\0" * most
    yield "not UTF-8", b"\xff" * most
    yield "a byte order mark", b"\xef\xbb\xbf" + seed
    yield "UTF-16", seed.decode(errors="replace").encode("utf-16")
    yield "one long line", b"a" * most
    yield "no end", b'"' + b"a" * most
    yield "digits", b"9" * most
    yield "lists", b"[" * most
    yield "lists that end", b"[" * (most // 2) + b"]" * (most // 2)
    yield "tables", b'{"a":' * (most // 5)
    yield "many", b"[" + b'"",' * (most // 3) + b'""]'
    yield "escapes", b'"' + rb"\u0041" * (most // 6) + b'"'
    yield "again and again", _again(seed, most)
    if form == "toml":
        yield "a dotted key", b"a." * (most // 2) + b"a = 1"
        yield "dotted keys", (b".".join([b"a"] * 31) + b" = 1\n") * (most // 66)
        yield "a dotted table", b"[" + b"a." * (most // 2) + b"a]"
        yield "quoted keys", b'"a" . ' * (most // 6) + b'"a" = 1'
        yield "tables of nothing", b"[[models]]\n" * (most // 11)
        yield "lists in a key", b"a = " + b"[" * most
        yield "tables in a key", b"a = " + b"{a = " * (most // 5)
        yield "keys", b"".join(b"k%d = 1\n" % number for number in range(most // 12))
        yield "texts", b"a = [" + b'"",' * (most // 3) + b"]"
        yield "a comment", b"#" * most
    if form == "lines":
        yield "removed", b'{"what":"removed","path":"a"}\n' * (most // 30)
        line = seed.splitlines()[0] + b"\n"
        half = line * (most // 2 // len(line))
        yield "placed and removed", half + b'{"what":"removed","path":"a/b"}\n' * (most // 64)
        steps = b"/a" * (most // 3)
        yield "a long path", b'{"what":"file","path":"' + steps + b'"}\n'
    if form == "safetensors":
        for length in (2**64 - 1, 2**63, 100_000_000, most):
            yield f"a header of {length} bytes", length.to_bytes(8, "little") + b"{" * most
        for name, body in extremes(b"{}", "json", most):
            yield f"a header: {name}", len(body).to_bytes(8, "little") + body
    if form in ("json", "safetensors"):
        for number, body in enumerate(_grown(seed, form, most)):
            yield f"grown {number}", body


def _again(seed: bytes, most: int) -> bytes:
    """The second half of a file many times over."""
    part = seed[len(seed) // 2 :] or b"a"
    return seed + part * (most // len(part))


def _grown(seed: bytes, form: Form, most: int) -> Iterator[bytes]:
    """The document with one of its lists or tables grown until it has about `most` bytes."""
    _, body, tail = _parts(seed, form)
    data = json.loads(body)
    holders = [data, *(parent[key] for parent, key in _values(data))]
    found = [holder for holder in holders if isinstance(holder, dict | list) and holder][:8]
    for number in range(len(found)):
        fresh = json.loads(body)
        holders = [fresh, *(parent[key] for parent, key in _values(fresh))]
        chosen = [holder for holder in holders if isinstance(holder, dict | list) and holder][
            number
        ]
        value = chosen[0] if isinstance(chosen, list) else chosen[next(iter(chosen))]
        count = most // (len(json.dumps(value)) + 12)
        copies = [json.loads(json.dumps(value)) for _ in range(count)]
        if isinstance(chosen, list):
            chosen += copies
        else:
            chosen.update({f"k{place}": copy for place, copy in enumerate(copies)})
        text = json.dumps(fresh, indent=1, sort_keys=True).encode()
        yield len(text).to_bytes(8, "little") + text + tail if form == "safetensors" else text


def _parts(seed: bytes, form: Form) -> tuple[bytes, bytes, bytes]:
    """What comes before the document, it, and what comes behind it."""
    if form != "safetensors":
        return b"", seed, b""
    length = int.from_bytes(seed[:8], "little")
    return seed[:8], seed[8 : 8 + length], seed[8 + length :]
