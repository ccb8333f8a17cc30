"""Reads what the workshop writes: protobuf messages, field by field."""

from typing import Any


def message(content: bytes) -> list[tuple[int, Any]]:
    """The fields of a protobuf message, by number, in their order."""
    fields = []
    at = 0
    while at < len(content):
        key, at = varint(content, at)
        number, kind = key >> 3, key & 7
        value: int | bytes
        if kind == 0:
            value, at = varint(content, at)
        else:
            size, at = (4, at) if kind == 5 else varint(content, at)
            value, at = content[at : at + size], at + size
        fields.append((number, value))
    return fields


def varint(content: bytes, at: int) -> tuple[int, int]:
    """The number that stands there, and where it is over."""
    value = shift = 0
    while True:
        value |= (content[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if content[at - 1] < 0x80:
            return value, at
