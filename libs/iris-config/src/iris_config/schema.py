"""The configuration's shape and documentation as a JSON Schema, for editors.

Made from the messages by descriptor: no field is known here by name. The
descriptions are the comments of the proto, which a descriptor set keeps.

The loader is the judge: whatever this schema rejects, the loader rejects. It
reads a YAML scalar by its text, so `3` and `'3'` are the same number and
`image: 1.10` is text; hence the lists of types. It also expands `${VAR}` in any
scalar first, so text with `${` passes wherever a scalar is read. What a schema
cannot see is left to the loader: rules across fields, limits of numbers that
are written in quotes or with units, and words that YAML 1.1 alone takes for
numbers or booleans (`yes`, `0x10`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator
from importlib.resources import files

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

from iris_config.scalars import BOOLS, DURATION, INT_RANGES, enum_names, number_range
from iris_config.units import DURATION_PATTERN, SIZE_PATTERN
from iris_proto.v1 import config_pb2

Schema = dict[str, object]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
ID = "urn:iris:config:v1"
TITLE = "Iris cluster configuration"

_REFERENCE = r"\$\{"


def config_schema() -> dict[str, object]:
    """The JSON Schema (draft 2020-12) of a configuration file."""
    root = config_pb2.IrisClusterConfig.DESCRIPTOR
    return {
        "$schema": DIALECT,
        "$id": ID,
        "title": TITLE,
        **_message(root),
        "$defs": {**_types_below(root), **_scalars()},
    }


def _text(pattern: str) -> str:
    """The pattern for all of a text, which may also be a reference to the environment."""
    return f"^(?:{pattern})$|{_REFERENCE}"


def _scalars() -> dict[str, Schema]:
    """What many fields share; the lower-case names are no messages'."""
    integer = r"[-+]?(?:0|[1-9][0-9_]*)"
    number = r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?"
    return {
        "text": {"type": ["string", "number", "boolean"]},
        "boolean": {"type": ["boolean", "string"], "pattern": _text("|".join(BOOLS))},
        "integer": {"type": ["integer", "string"], "pattern": _text(integer)},
        "number": {"type": ["number", "string"], "pattern": _text(number)},
        "size": {
            "type": ["integer", "string"],
            "pattern": _text(SIZE_PATTERN),
            "examples": ["64GiB", "500GB"],
        },
        "duration": {
            "type": "string",
            "minLength": 1,
            "pattern": _text(DURATION_PATTERN),
            "examples": ["90s", "10m", "1h30m"],
        },
        "reference": {"type": "string", "pattern": _REFERENCE},
    }


def _types_below(root: Descriptor) -> dict[str, Schema]:
    """The definition of every message and enum that a field of `root` leads to."""
    found: dict[str, Schema] = {}
    waiting = [root]
    while waiting:
        for field in waiting.pop().fields:
            below = field.message_type
            if field.enum_type is not None:
                found[field.enum_type.name] = _enum(field.enum_type)
            elif below is None or below.full_name == DURATION or below.name in found:
                continue
            elif below.GetOptions().map_entry:
                waiting.append(below)
            else:
                found[below.name] = _message(below)
                waiting.append(below)
    return dict(sorted(found.items()))


def _message(descriptor: Descriptor) -> Schema:
    schema: Schema = {
        "description": _comments()[descriptor.full_name],
        "type": "object",
        "properties": {field.name: _field(field) for field in descriptor.fields},
        "additionalProperties": False,
    }
    required = [field.name for field in descriptor.fields if _rule(field).required]
    if required:
        schema["required"] = required
    for oneof in descriptor.oneofs:
        if oneof.GetOptions().Extensions[config_pb2.one_required]:
            schema["anyOf"] = [{"required": [arm.name]} for arm in oneof.fields]
    # Said arm by arm, so that an editor points at the key that is too many.
    excluded: Schema = {
        arm.name: {"properties": {other.name: False for other in oneof.fields if other is not arm}}
        for oneof in descriptor.oneofs
        for arm in oneof.fields
        # An `optional` field is alone in a oneof of the compiler's own.
        if len(oneof.fields) > 1
    }
    if excluded:
        schema["dependentSchemas"] = excluded
    return schema


def _enum(descriptor: EnumDescriptor) -> Schema:
    comments = _comments()
    names = enum_names(descriptor)
    meanings = [f"`{name}`: {comments[f'{descriptor.full_name}.{long}']}" for name, long in names.items()]
    return {
        "description": " ".join([comments[descriptor.full_name], *meanings]),
        "anyOf": [{"enum": list(names)}, _ref("reference")],
    }


def _field(field: FieldDescriptor) -> Schema:
    schema: Schema = {"description": _comments()[field.full_name]}
    entry = field.message_type
    if entry is not None and entry.GetOptions().map_entry:
        schema |= {"type": "object", "additionalProperties": _single(entry.fields_by_name["value"])}
        names = _rule(field).pattern
        return schema | ({"propertyNames": {"pattern": f"^(?:{names})$"}} if names else {})
    if field.is_repeated:
        least: Schema = {"minItems": 1} if _rule(field).required else {}
        return schema | {"type": "array", "items": _single(field), **least}
    return schema | _single(field)


def _single(field: FieldDescriptor) -> Schema:
    """One value of a field; of a list's, one item."""
    if field.message_type is not None:
        name = field.message_type.name
        return _ref("duration" if field.message_type.full_name == DURATION else name)
    if field.enum_type is not None:
        return _ref(field.enum_type.name)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return _ref("boolean")
    if field.cpp_type != FieldDescriptor.CPPTYPE_STRING:
        return _numeric(field)
    schema = _ref("text")
    rule = _rule(field)
    if rule.pattern:
        schema["pattern"] = _text(rule.pattern)
    elif rule.required:
        schema["minLength"] = 1
    return schema


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _numeric(field: FieldDescriptor) -> Schema:
    if field.cpp_type not in INT_RANGES:
        name = "number"
    elif field.GetOptions().Extensions[config_pb2.bytes_size]:
        name = "size"
    else:
        name = "integer"
    bounds = zip(("minimum", "maximum"), number_range(field), strict=True)
    return _ref(name) | {word: bound for word, bound in bounds if math.isfinite(bound)}


def _rule(field: FieldDescriptor) -> config_pb2.Rule:
    return field.GetOptions().Extensions[config_pb2.rule]


@functools.cache
def _comments() -> dict[str, str]:
    """The comment of every message, field, enum and enum value, as one paragraph, by full name."""
    data = files("iris_proto.v1").joinpath("config.binpb").read_bytes()
    comments: dict[str, str] = {}
    for file in FileDescriptorSet.FromString(data).file:
        names = dict(_places(file))
        for location in file.source_code_info.location:
            name = names.get(tuple(location.path))
            if name is not None:
                comments[name] = " ".join(location.leading_comments.split())
    return comments


_Place = tuple[tuple[int, ...], str]


def _places(file: FileDescriptorProto) -> Iterator[_Place]:
    """Paths as source locations have them -> full names; see descriptor.proto."""
    yield from _message_places(file.message_type, (file.MESSAGE_TYPE_FIELD_NUMBER,), file.package)
    yield from _enum_places(file.enum_type, (file.ENUM_TYPE_FIELD_NUMBER,), file.package)


def _message_places(
    messages: Iterable[DescriptorProto], above: tuple[int, ...], scope: str
) -> Iterator[_Place]:
    for index, message in enumerate(messages):
        here, name = (*above, index), f"{scope}.{message.name}"
        yield here, name
        for number, field in enumerate(message.field):
            yield (*here, message.FIELD_FIELD_NUMBER, number), f"{name}.{field.name}"
        yield from _message_places(message.nested_type, (*here, message.NESTED_TYPE_FIELD_NUMBER), name)
        yield from _enum_places(message.enum_type, (*here, message.ENUM_TYPE_FIELD_NUMBER), name)


def _enum_places(
    enums: Iterable[EnumDescriptorProto], above: tuple[int, ...], scope: str
) -> Iterator[_Place]:
    for index, enum in enumerate(enums):
        here, name = (*above, index), f"{scope}.{enum.name}"
        yield here, name
        for number, value in enumerate(enum.value):
            yield (*here, enum.VALUE_FIELD_NUMBER, number), f"{name}.{value.name}"
