"""What Compute Engine refuses in a request, and how it writes names and times."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any

from tests.harness.cloud import rules
from tests.harness.cloud.errors import ApiError
from tests.harness.cloud.settings import Settings

HOST = "https://www.googleapis.com/compute/v1/"
MACHINE_TYPE = re.compile(r"(.*/)?zones/([^/]+)/machineTypes/([a-z0-9-]+)")
# An image, a family, or what gcloud writes for a family.
IMAGE = re.compile(r"/(images|imageFamilyViews)/[^/]")
DISK = re.compile(r"(?:.*?(projects/[^/]+/))?zones/([^/]+)/disks/([^/]+)")
# Of a filter: what all of the terms have to be, with or without brackets.
TERM = re.compile(r'\(?\s*(labels\.[-\w]+|name|status)\s*(=|:|eq)\s*"?([-\w.]*)"?\s*\)?(?:\s*AND)?\s*')


def link(name: str) -> str:
    """The URL of a resource."""
    return HOST + name


def timestamp(ms: int) -> str:
    """RFC 3339, as Compute Engine writes it: with an offset, not Z."""
    return datetime.fromtimestamp(ms / 1000, timezone.utc).isoformat(timespec="milliseconds")


def invalid(field: str, words: str) -> ApiError:
    return ApiError(3, f"Invalid value for field '{field}': {words}", "invalid")


def check_name(body: Mapping[str, Any]) -> str:
    """The name of a new resource."""
    name = str(body.get("name") or "")
    if not rules.ID.fullmatch(name):
        words = f"'{name}'. Must be a match of regex '(?:[a-z](?:[-a-z0-9]{{0,61}}[a-z0-9])?)'"
        raise invalid("resource.name", words)
    return name


def check_instance(body: Mapping[str, Any], project: str, zone: str, settings: Settings) -> None:
    """A new instance."""
    machine_type = MACHINE_TYPE.fullmatch(str(body.get("machineType") or ""))
    if machine_type is None or machine_type[2] != zone:
        raise invalid("resource.machineType", f"'{body.get('machineType')}'. The URL is malformed.")
    disks = body.get("disks") or []
    if not disks or not disks[0].get("boot"):
        raise invalid("resource.disks", "''. No disks are specified.")
    source = (disks[0].get("initializeParams") or {}).get("sourceImage", "")
    if not disks[0].get("source") and not IMAGE.search(source):
        raise invalid("resource.disks[0].initializeParams.sourceImage", f"'{source}'.")
    interfaces = body.get("networkInterfaces") or []
    if not interfaces:
        raise invalid("resource.networkInterfaces", "''. At least one network interface is required.")
    rules.check_network(str(interfaces[0].get("network") or ""), project, settings)
    rules.check_labels(body.get("labels") or {})
    rules.check_metadata(metadata_of(body))


def metadata_of(body: Mapping[str, Any]) -> dict[str, str]:
    """`metadata.items` as a mapping."""
    items = (body.get("metadata") or {}).get("items") or ()
    return {str(item["key"]): str(item.get("value") or "") for item in items}


def disk_name_of(source: str, place: str) -> str:
    """The full name of a disk by its URL, path or partial path; `place` is `projects/P/zones/Z`."""
    match = DISK.fullmatch(source)
    if match is None or match[2] != place.rpartition("/")[2]:
        raise invalid("resource.disks[1].source", f"'{source}'. The URL is malformed.")
    return f"{place}/disks/{match[3]}"


def chosen_by(text: str) -> Callable[[Mapping[str, Any]], bool]:
    """What a list's `filter` lets through: terms `labels.KEY = VALUE` that all have to hold."""
    terms: list[tuple[str, str]] = []
    at = 0
    while at < len(text.strip()):
        match = TERM.match(text.strip(), at)
        if match is None:
            raise invalid("filter", f"'{text}'. Invalid list filter expression.")
        terms.append((match[1], match[3]))
        at = match.end()

    def fits(body: Mapping[str, Any]) -> bool:
        labels = body.get("labels") or {}
        return all(
            (labels.get(key.removeprefix("labels.")) if key.startswith("labels.") else body.get(key)) == value
            for key, value in terms
        )

    return fits
