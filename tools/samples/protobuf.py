"""As much of protobuf as a sentencepiece model needs: its package would be used here alone."""

import struct
from collections.abc import Mapping

Value = bytes | int | float


def message(fields: Mapping[int, Value]) -> bytes:
    """A message: its fields by their numbers, messages within as bytes."""
    return b"".join(field(number, value) for number, value in fields.items())


def field(number: int, value: Value) -> bytes:
    """One field; repeated ones are written one after another."""
    match value:
        case bytes():
            return _varint(number << 3 | 2) + _varint(len(value)) + value
        case float():
            return _varint(number << 3 | 5) + struct.pack("<f", value)
        case int():
            return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the eighth says that more follow."""
    value &= (1 << 64) - 1  # numbers below zero are written in two's complement
    groups = []
    while value >= 0x80:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])
