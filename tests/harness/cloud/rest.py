"""The TPU API's REST side: paths, queries and JSON to protobuf and back. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor

from tests.harness.cloud import errors, wire
from tests.harness.cloud.details import details_of

# What the API serves, and gcloud asks for; all of them are answered as v2.
VERSIONS = re.compile(r"/(v2|v2alpha1|v1)/(.*)")
STRICT = "v2"
# Parameters of every call, which are no fields: the format and the like.
SYSTEM = {"alt", "$alt", "prettyPrint", "key", "fields", "quotaUser", "access_token", "$.xgafv", "uploadType"}
WITH_NUMBERS = "enum-encoding=int"


@dataclass(frozen=True)
class RestCall:
    """A call that was understood. `numbers`: enumerations are wanted as numbers."""

    method: str
    request: Any
    numbers: bool


def understand(verb: str, target: str, body: bytes) -> RestCall | None:
    """The call that a request is; None if it is none of this API.

    Raises ApiError where it is, and is not well formed.
    """
    url = urlsplit(target)
    version = VERSIONS.fullmatch(unquote(url.path))
    if version is None:
        return None
    query = dict(parse_qsl(url.query, keep_blank_values=True))
    numbers = WITH_NUMBERS in query.get("$alt", "")
    for rpc in wire.table():
        for rule in rpc.rules:
            match = rule.path.fullmatch(version[2])
            if match and rule.verb == verb:
                named = dict(zip(rule.fields, match.groups(), strict=True))
                request = _request(rpc, rule, named, query, body, strict=version[1] == STRICT)
                return RestCall(rpc.name, request, numbers)
    return None


def _request(
    rpc: wire.Rpc,
    rule: wire.HttpRule,
    named: Mapping[str, str],
    query: Mapping[str, str],
    body: bytes,
    *,
    strict: bool,
) -> Any:
    descriptor = rpc.request.DESCRIPTOR
    values: dict[str, Any] = {}
    for key, text in query.items():
        if key not in SYSTEM:
            values[key] = _from_query(descriptor, key, text, strict=strict)
    if rule.body and body:
        values |= _json(body) if rule.body == "*" else {rule.body: _json(body)}
    request = rpc.request()
    try:
        json_format.ParseDict(values, request, ignore_unknown_fields=not strict)
    except json_format.ParseError as error:
        raise errors.invalid(f"Invalid JSON payload received. {error}") from error
    for path, text in named.items():
        *above, last = path.split(".")
        holder = request
        for each in above:
            holder = getattr(holder, each)
        setattr(holder, last, text)
    return request


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError as error:
        raise errors.invalid(f"Invalid JSON payload received. {error}") from error


def _from_query(descriptor: Any, key: str, text: str, *, strict: bool) -> Any:
    field = descriptor.fields_by_camelcase_name.get(key) or descriptor.fields_by_name.get(key)
    if field is None:
        if strict:
            words = f'Invalid JSON payload received. Unknown name "{key}": Cannot bind query parameter.'
            raise errors.invalid(f"{words} Field '{key}' could not be found in request message.")
        return text
    if field.type == FieldDescriptor.TYPE_BOOL:
        return text.lower() == "true"
    return text


def reply_json(reply: Any, *, numbers: bool = False) -> bytes:
    """A message as Google's JSON."""
    return json_format.MessageToJson(reply, use_integers_for_enums=numbers, indent=2).encode()


def error_json(error: errors.ApiError) -> bytes:
    """An error as Google's newer APIs have it."""
    details = [json_format.MessageToDict(detail) for detail in details_of(error)]
    said = {"code": error.http, "message": error.message, "status": error.status}
    return json.dumps({"error": said | ({"details": details} if details else {})}, indent=2).encode()
