"""Whether two configurations mean the same, and where they differ."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import cast

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from iris_config.config import IrisConfig
from iris_config.normalise import enum_names
from iris_config.problems import FieldPath, field_name
from iris_config.units import format_duration, format_size
from iris_proto.v1 import config_pb2

NOTHING = "(none)"


def fingerprint(config: IrisConfig) -> str:
    """64 hexadecimal digits that are equal for configurations of equal meaning."""
    canonical = json.dumps(json.loads(config.to_json()), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8")).hexdigest()


def diff_configs(old: IrisConfig, new: IrisConfig) -> list[str]:
    """One line for each value that differs, `FIELD: OLD -> NEW`; by meaning.

    A group that was added or removed is one line.
    """
    before, after = dict(_values(old.proto, ())), dict(_values(new.proto, ()))
    lines = []
    for name in sorted(set(old.scale_groups) ^ set(new.scale_groups)):
        words = ("present", NOTHING) if name in old.scale_groups else (NOTHING, "present")
        lines.append(f"scale_groups.{name}: {words[0]} -> {words[1]}")
    for path in dict.fromkeys([*before, *after]):
        was, now = before.get(path, NOTHING), after.get(path, NOTHING)
        group = path[1] if path[0] == "scale_groups" else None
        one_sided = group is not None and not (group in old.scale_groups and group in new.scale_groups)
        if was != now and not one_sided:
            lines.append(f"{field_name(path)}: {was} -> {now}")
    return lines


def _values(message: Message, path: FieldPath) -> Iterator[tuple[FieldPath, str]]:
    for field in message.DESCRIPTOR.fields:
        here = (*path, field.name)
        value = getattr(message, field.name)
        entry = field.message_type
        if entry is not None and entry.GetOptions().map_entry:
            for key in sorted(value):
                yield from _values(value[key], (*here, key))
        elif field.is_repeated:
            yield here, "[" + ", ".join(_words(message, field.name, item) for item in value) + "]"
        elif field.has_presence and not message.HasField(field.name):
            continue
        elif isinstance(value, Message) and not isinstance(value, Duration):
            if not value.DESCRIPTOR.fields:
                yield here, "{}"
            yield from _values(value, here)
        else:
            yield here, _words(message, field.name, value)


def _words(message: Message, name: str, value: object) -> str:
    field = cast(FieldDescriptor, message.DESCRIPTOR.fields_by_name[name])
    if isinstance(value, Duration):
        return format_duration(value.ToNanoseconds())
    if field.enum_type is not None and isinstance(value, int):
        names = {full: short for short, full in enum_names(field.enum_type).items()}
        full = field.enum_type.values_by_number[value].name
        return names.get(full, full)
    if isinstance(value, int) and field.GetOptions().Extensions[config_pb2.bytes_size]:
        return format_size(value)
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)
