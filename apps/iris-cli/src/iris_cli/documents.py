"""JSON and YAML for programs. The content is the RPC's response (DESIGN 10)."""

import json
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message


def message_to_dict(message: Message) -> dict[str, Any]:
    """A message as proto JSON with the names of the proto file, zeros included."""
    found: dict[str, Any] = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return found


def render_document(value: object, output_format: str) -> str:
    """One document, laid out for reading."""
    if output_format == "yaml":
        return _yaml(value)
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def render_item(value: object, output_format: str) -> str:
    """One of many: a JSON object on one line, or a YAML document."""
    if output_format == "yaml":
        return "---\n" + _yaml(value)
    return json.dumps(value, ensure_ascii=False) + "\n"


def _yaml(value: object) -> str:
    import yaml

    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
    return text
