"""Bytes that are no message: where they stop making sense.

protobuf says only that parsing failed. This walks the bytes once more, along the message's
descriptor, and names the field: text that is not UTF-8, or the place where the bytes end early.
Runs only after a failure, so its speed does not matter; its depth is bounded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from server.transport.errors import Fault, Refused, Violation, violations_refusal

if TYPE_CHECKING:
    from typing import Any

M = TypeVar("M", bound=Message)

_DEPTH_MAX = 32


class _Fault(Exception):
    def __init__(self, path: str, why: str) -> None:
        super().__init__(why)
        self.path = path
        self.why = why


def _varint(buffer: bytes, at: int, stop: int, path: str) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= stop:
            raise _Fault(path, f"the message ends at byte {at}, inside a number")
        byte = buffer[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise _Fault(path, f"a number before byte {at} has more than ten bytes")


def _walk(buffer: bytes, at: int, stop: int, message: Any, path: str, depth: int) -> None:
    seen: dict[int, int] = {}
    while at < stop:
        tag, at = _varint(buffer, at, stop, path)
        number, wire = tag >> 3, tag & 7
        field = message.fields_by_number.get(number)
        name = field.name if field is not None else f"field {number}"
        here = f"{path}.{name}" if path else name
        if field is not None and field.is_repeated:
            here += f"[{seen.get(number, 0)}]"
            seen[number] = seen.get(number, 0) + 1
        if wire == 0:
            _, at = _varint(buffer, at, stop, here)
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        elif wire == 2:
            size, at = _varint(buffer, at, stop, here)
            if at + size > stop:
                raise _Fault(
                    here, f"{size} bytes are announced at byte {at}, {stop - at} are there"
                )
            if field is not None and field.type == FieldDescriptor.TYPE_STRING:
                _text(buffer[at : at + size], here)
            elif field is not None and field.message_type is not None and depth < _DEPTH_MAX:
                _walk(buffer, at, at + size, field.message_type, here, depth + 1)
            at += size
        else:
            raise _Fault(here, f"wire type {wire} at byte {at} is not in use")
        if at > stop:
            raise _Fault(here, f"the message ends at byte {stop}, inside a value")


def _text(value: bytes, path: str) -> None:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError as fault:
        raise _Fault(
            path, f"{ascii(value[:48])[2:-1]!r} is not UTF-8 (byte {fault.start} of it)"
        ) from None


def violation_of(kind: type[Message], buffer: bytes) -> Violation:
    """What is wrong with bytes that `kind` could not be read from."""
    try:
        _walk(buffer, 0, len(buffer), kind.DESCRIPTOR, "", 0)
    except _Fault as fault:
        return Violation(
            field=fault.path or "(message)", fault=Fault.FIELD_INVALID, description=fault.why
        )
    return Violation(
        field="(message)", fault=Fault.FIELD_INVALID, description=f"is no {kind.DESCRIPTOR.name}"
    )


def read(kind: type[M], buffer: bytes) -> M:
    """The message in `buffer`. Raises Refused naming the field that can not be read."""
    try:
        return kind.FromString(buffer)
    except DecodeError:
        raise Refused(violations_refusal([violation_of(kind, buffer)])) from None
