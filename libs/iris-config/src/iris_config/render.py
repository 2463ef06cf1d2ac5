"""An effective configuration in the words of its file: durations, sizes, short enums."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from iris_config.environment import escape
from iris_config.problems import FieldPath
from iris_config.scalars import enum_names
from iris_config.units import format_duration, format_size
from iris_proto.v1 import config_pb2

Plain: TypeAlias = "str | int | float | bool | list[Plain] | dict[str, Plain]"


def plain_tree(message: Message) -> dict[str, Plain]:
    """What a file that means the same would say.

    Left out is what only its presence distinguishes, and texts and lists that
    are empty. Groups are in order of their names.
    """
    tree: dict[str, Plain] = {}
    for field in cast("list[FieldDescriptor]", message.DESCRIPTOR.fields):
        value = getattr(message, field.name)
        if field.has_presence and not message.HasField(field.name):
            continue
        if _is_map(field):
            if value:
                tree[field.name] = {key: _entry(field, key, value[key]) for key in sorted(value)}
        elif field.is_repeated:
            if value:
                tree[field.name] = [_plain(field, item) for item in value]
        # An enum's zero is `unspecified`, which nobody writes.
        elif value != "" and (field.enum_type is None or value != 0):
            tree[field.name] = _plain(field, value)
    return tree


def escaped(tree: Plain) -> Plain:
    """A tree whose texts mean themselves where `${` is a reference."""
    if isinstance(tree, dict):
        return {key: escaped(child) for key, child in tree.items()}
    if isinstance(tree, list):
        return [escaped(item) for item in tree]
    return escape(tree) if isinstance(tree, str) else tree


def leaves(tree: Plain, path: FieldPath = ()) -> Iterator[tuple[FieldPath, str]]:
    """Every value with its field, as it is written; lists of values are one.

    A mapping that holds nothing is `{}`.
    """
    if isinstance(tree, dict) and tree:
        for key, child in tree.items():
            yield from leaves(child, (*path, key))
    elif isinstance(tree, list):
        yield path, f"[{', '.join(map(str, tree))}]"
    else:
        yield path, _word(tree)


def _word(value: Plain) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "{}" if isinstance(value, dict) else str(value)


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _entry(field: FieldDescriptor, key: str, value: object) -> Plain:
    of = cast(Descriptor, field.message_type).fields_by_name["value"]
    tree = _plain(of, value)
    if isinstance(tree, dict) and tree.get("name") == key:
        # Filled in by the loader; nobody writes it.
        del tree["name"]
    return tree


def _plain(field: FieldDescriptor, value: object) -> Plain:
    if isinstance(value, Duration):
        return format_duration(value.ToNanoseconds())
    if isinstance(value, Message):
        return plain_tree(value)
    if field.enum_type is not None and isinstance(value, int):
        names = {full: short for short, full in enum_names(field.enum_type).items()}
        full = field.enum_type.values_by_number[value].name
        return names.get(full, full)
    if isinstance(value, int) and field.GetOptions().Extensions[config_pb2.bytes_size]:
        return format_size(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return cast(Plain, value)
