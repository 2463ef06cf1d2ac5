"""The JSON files that platforms keep, and a slice's specification in them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from iris_platform.base import HostResources, SliceSpec, Unreachable
from iris_platform.files import write_atomic


class CorruptSlice(Unreachable):
    """A slice's file cannot be understood: what the slice is, is not known."""


def read_json(path: Path) -> object:
    """What a file holds.

    Raises:
        FileNotFoundError: there is none.
        Unreachable: it cannot be read.
        CorruptSlice: it is no JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Unreachable(f"{path}: cannot read: {error.strerror}") from error
    except ValueError as error:
        raise CorruptSlice(f"{path}: not valid JSON: {error}") from error


def write_json(path: Path, value: object) -> None:
    """Write a file (0600) in place of what was there; when this returns it would survive a power cut."""
    write_atomic(path, json.dumps(value, indent=1).encode("utf-8") + b"\n")


class Fields:
    """The fields of a JSON object; one that is not as expected is a `CorruptSlice`.

    `source` names the file in messages.
    """

    def __init__(self, source: str, value: object) -> None:
        if not isinstance(value, dict):
            raise CorruptSlice(f"{source}: expected an object")
        self._source = source
        self._value: Mapping[str, object] = value

    def has(self, name: str) -> bool:
        """Whether it is there at all."""
        return name in self._value

    def text(self, name: str) -> str:
        """A string."""
        found = self._value.get(name)
        if not isinstance(found, str):
            raise self._wrong(name, "a string", found)
        return found

    def number(self, name: str) -> int:
        """A whole number, at least 0."""
        found = self._value.get(name)
        if not isinstance(found, int) or isinstance(found, bool) or found < 0:
            raise self._wrong(name, "a whole number", found)
        return found

    def texts(self, name: str) -> Sequence[str]:
        """A list of strings."""
        found = self._value.get(name)
        if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
            raise self._wrong(name, "a list of strings", found)
        return found

    def labels(self, name: str) -> Mapping[str, str]:
        """An object of strings."""
        found = self._value.get(name)
        if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
            raise self._wrong(name, "an object of strings", found)
        return found

    def _wrong(self, name: str, expected: str, found: object) -> CorruptSlice:
        return CorruptSlice(f"{self._source}: {name}: expected {expected}, found {found!r}")


def spec_to_json(spec: SliceSpec) -> dict[str, object]:
    """The fields of a slice's specification."""
    return {
        "name": spec.name,
        "group": spec.group,
        "hosts": spec.hosts,
        "cpu_millis": spec.resources.cpu_millis,
        "memory_bytes": spec.resources.memory_bytes,
        "accelerator_type": spec.accelerator_type,
        "labels": dict(spec.labels),
    }


def spec_from_json(fields: Fields) -> SliceSpec:
    """The specification that `spec_to_json` wrote.

    Raises:
        CorruptSlice: a field is missing or of another type.
    """
    return SliceSpec(
        name=fields.text("name"),
        group=fields.text("group"),
        hosts=fields.number("hosts"),
        resources=HostResources(fields.number("cpu_millis"), fields.number("memory_bytes")),
        accelerator_type=fields.text("accelerator_type"),
        labels=fields.labels("labels"),
    )
