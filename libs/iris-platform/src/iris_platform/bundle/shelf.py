"""The bundles of one controller, made when the first host of a kind asks for one."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from iris_platform.base import Refused
from iris_platform.bundle.archive import Bundle, BundleError, build_bundle, open_bundle
from iris_platform.bundle.collect import collect_wheels

AGENT = ("iris-bootstrap",)
# In the directory where `iris cluster start` brings bundles, since nothing there can make one:
# {"3.11 x86_64": SHA256}.
KINDS_FILE = "kinds.json"


class Shelf:
    """Bundles of some programs, each for one Python and machine; safe to use from any thread."""

    def __init__(self, directory: Path, programs: Sequence[str] = AGENT) -> None:
        """`directory` is where they stay; what pip fetched has a cache of its own."""
        self._directory = directory
        self._programs = programs
        self._lock = threading.Lock()
        self._made: dict[tuple[str, str], Bundle] = {}

    def bundle_for(self, python: str, machine: str) -> Bundle:
        """The bundle for hosts with, say, Python "3.11" on "x86_64".

        Raises:
            Refused: it cannot be made; says which wheel is missing, and why.
        """
        with self._lock:
            made = self._made.get((python, machine))
            if made is None:
                made = self._made[python, machine] = self._get(python, machine)
            return made

    def _get(self, python: str, machine: str) -> Bundle:
        packed = "the agent" if tuple(self._programs) == AGENT else "the controller"
        what = f"{packed} cannot be packed for Python {python} on {machine}"
        try:
            brought = read_kinds(self._directory)
            if brought is None:
                return self._make(python, machine)
            sha256 = brought.get(kind_of(python, machine))
            if sha256 is None:
                words = "no bundle was brought here for that; `iris cluster start` once more brings it"
                raise Refused(f"{what}: {words}")
            return open_bundle(self._directory / sha256)
        except BundleError as error:
            raise Refused(f"{what}: {error}") from error

    def _make(self, python: str, machine: str) -> Bundle:
        with TemporaryDirectory(prefix="iris-wheels-") as directory:
            wheels = collect_wheels(Path(directory), self._programs, (python,), (machine,))
            return build_bundle(wheels, self._directory)


def kind_of(python: str, machine: str) -> str:
    """The key of `KINDS_FILE`."""
    return f"{python} {machine}"


def read_kinds(directory: Path) -> Mapping[str, str] | None:
    """The bundles that were brought to a directory; None where they are made.

    Raises:
        BundleError: the list is there and cannot be read.
    """
    path = directory / KINDS_FILE
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise BundleError(f"{path}: cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise BundleError(f"{path}: expected an object")
    return {str(kind): str(sha256) for kind, sha256 in found.items()}
