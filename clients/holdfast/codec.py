"""Messages to values and back: one mechanism for every type of the contract.

A value is a frozen dataclass whose fields bear the names of the message's fields. How each field
travels follows from the message's descriptor and the dataclass's annotation, and is worked out
once for each pair:

===========================  =====================================================
on the wire                  in Python
===========================  =====================================================
scalar                       the same; ``optional`` and unset: None
enum                         a `WireEnum`; a number this version does not know: its UNSPECIFIED
Timestamp, Duration          aware `datetime`, `timedelta`; unset: None
message                      the annotated dataclass; unset: None where the annotation allows it
repeated                     a tuple
map                          a dict
===========================  =====================================================

Fields that only the dataclass has (a reservation's ``revision``) are given to `read` by name;
fields that only the message has are left alone. That the two agree is proved by a test.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum
from typing import Any, TypeVar, cast

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from holdfast.times import from_timestamp, to_duration, to_timestamp

ValueT = TypeVar("ValueT")
EnumT = TypeVar("EnumT", bound="WireEnum")

_TIMESTAMP = "google.protobuf.Timestamp"
_DURATION = "google.protobuf.Duration"


class WireEnum(StrEnum):
    """An enum of the contract: members are its names without their prefix."""


def read(kind: type[ValueT], message: Message, **extra: object) -> ValueT:
    """`message` as a `kind`; `extra` holds the fields that the message has not. O(size)."""
    value: ValueT = _reader(cast(Any, kind), message.DESCRIPTOR)(message, **extra)
    return value


def write(value: object, message: Message) -> None:
    """Put the fields of `value` into `message`. None and a oneof's empty string stay unset.

    Raises ValueError when a value does not fit its field, naming the field.
    """
    for name, put in _writers(cast(Any, type(value)), message.DESCRIPTOR):
        content = getattr(value, name)
        if content is None:
            continue
        try:
            put(message, content)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name}: {error}") from error


def read_enum(kind: type[EnumT], message: Message, name: str) -> EnumT:
    """The enum field `name` of `message` as a `kind`."""
    convert = _enum_converter(kind, message.DESCRIPTOR.fields_by_name[name])
    member: EnumT = convert(getattr(message, name))
    return member


def write_enum(message: Message, name: str, member: WireEnum) -> None:
    """Set the enum field `name` of `message`."""
    if member != "UNSPECIFIED":
        descriptor = message.DESCRIPTOR.fields_by_name[name].enum_type
        assert descriptor is not None, name
        setattr(message, name, _enum_names(descriptor)[member])


@functools.cache
def _reader(kind: type[Any], descriptor: Descriptor) -> Callable[..., Any]:
    """The function that reads a message of `descriptor` as a `kind`.

    It is written out once as a row of assignments, from names of the contract, and puts each field
    straight into its slot: a reservation of ten lines is twenty values, and the checks of a frozen
    dataclass's ``__init__`` alone took half of the time of reading one.
    """
    hints = typing.get_type_hints(kind)
    names: dict[str, Any] = {"kind": kind, "new": object.__new__}
    lines = ["def read(m, **extra):", "    value = new(kind)"]
    for field in dataclasses.fields(kind):
        names[f"set_{field.name}"] = kind.__dict__[field.name].__set__
        if field.name in descriptor.fields_by_name:
            found = descriptor.fields_by_name[field.name]
            source = _expression(found, hints[field.name], names)
        elif field.default is not dataclasses.MISSING:
            names[f"default_{field.name}"] = field.default
            source = f"extra.get({field.name!r}, default_{field.name})"
        else:
            source = f"extra[{field.name!r}]"
        lines.append(f"    set_{field.name}(value, {source})")
    lines.append("    return value")
    exec("\n".join(lines), names)
    made: Callable[..., Any] = names["read"]
    return made


def _expression(field: FieldDescriptor, hint: Any, names: dict[str, Any]) -> str:
    """How `field` of a message ``m`` is read as what `hint` says; converters go into `names`."""
    source = f"m.{field.name}"
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return f"dict({source})"
    convert = _converter(field, _item_hint(hint) if field.is_repeated else _without_none(hint))
    if convert is not None:
        names[f"convert_{field.name}"] = convert
    if field.is_repeated:
        return (
            f"tuple([convert_{field.name}(x) for x in {source}])" if convert else f"tuple({source})"
        )
    content = f"convert_{field.name}({source})" if convert else source
    if field.has_presence and _allows_none(hint):
        return f"{content} if m.HasField({field.name!r}) else None"
    return content


def _converter(field: FieldDescriptor, hint: Any) -> Callable[[Any], Any] | None:
    """How one content of `field` is read; None: as it is."""
    if field.enum_type is not None:
        return _enum_converter(hint, field)
    if field.message_type is None:
        return None
    if field.message_type.full_name == _TIMESTAMP:
        return from_timestamp
    if field.message_type.full_name == _DURATION:
        return lambda span: timedelta(seconds=span.seconds, microseconds=span.nanos // 1_000)
    return _reader(hint, field.message_type)


@functools.cache
def _enum_converter(kind: type[Any], field: FieldDescriptor) -> Callable[[int], Any]:
    assert field.enum_type is not None, field.name
    members = {number: kind(name) for name, number in _enum_names(field.enum_type).items()}
    unknown = members[0]
    return lambda number: members.get(number, unknown)


@functools.cache
def _writers(
    kind: type[Any], descriptor: Descriptor
) -> tuple[tuple[str, Callable[[Any, Any], None]], ...]:
    return tuple(
        (field.name, _writer(descriptor.fields_by_name[field.name]))
        for field in dataclasses.fields(kind)
        if field.name in descriptor.fields_by_name
    )


def _writer(field: FieldDescriptor) -> Callable[[Any, Any], None]:
    """How a content is put into `field` of a message."""
    name = field.name
    if field.is_repeated:
        if field.message_type is None:
            convert = _to_scalar(field)
            return lambda message, items: getattr(message, name).extend(map(convert, items))
        if field.message_type.GetOptions().map_entry:
            return lambda message, items: getattr(message, name).update(items)

        def put_all(message: Any, items: Any) -> None:
            for item in items:
                write(item, getattr(message, name).add())

        return put_all
    if field.message_type is not None:
        return _message_writer(name, field.message_type.full_name)
    convert = _to_scalar(field)
    in_oneof = field.containing_oneof is not None

    def put(message: Any, content: Any) -> None:
        if in_oneof and content == "":
            return
        setattr(message, name, convert(content))

    return put


def _message_writer(name: str, full_name: str) -> Callable[[Any, Any], None]:
    if full_name == _TIMESTAMP:
        return lambda message, moment: getattr(message, name).CopyFrom(to_timestamp(moment))
    if full_name == _DURATION:
        return lambda message, span: getattr(message, name).CopyFrom(to_duration(span))

    def put(message: Any, content: Any) -> None:
        inner = getattr(message, name)
        inner.SetInParent()
        write(content, inner)

    return put


def _to_scalar(field: FieldDescriptor) -> Callable[[Any], Any]:
    if field.enum_type is None:
        return lambda content: content
    numbers = _enum_names(field.enum_type)
    return lambda member: numbers[str(member)]


@functools.cache
def _enum_names(descriptor: EnumDescriptor) -> dict[str, int]:
    """Names without their prefix, to numbers. The prefix is that of the zero value."""
    prefix = descriptor.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return {value.name.removeprefix(prefix): value.number for value in descriptor.values}


def _allows_none(hint: Any) -> bool:
    return type(None) in typing.get_args(hint)


def _without_none(hint: Any) -> Any:
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        kinds = [kind for kind in typing.get_args(hint) if kind is not type(None)]
        return kinds[0] if len(kinds) == 1 else hint
    return hint


def _item_hint(hint: Any) -> Any:
    """The X of ``tuple[X, ...]``."""
    return typing.get_args(hint)[0]
