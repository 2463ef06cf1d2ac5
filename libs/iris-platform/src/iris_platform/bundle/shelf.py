"""The bundles of one controller, made when the first host of a kind asks for one."""

from __future__ import annotations

import threading
from pathlib import Path
from tempfile import TemporaryDirectory

from iris_platform.base import Refused
from iris_platform.bundle.archive import Bundle, BundleError, build_bundle
from iris_platform.bundle.collect import collect_wheels

PROGRAM = "iris-bootstrap"


class Shelf:
    """Bundles for agents, each for one Python and machine; safe to use from any thread."""

    def __init__(self, directory: Path) -> None:
        """`directory` is where they stay; what pip fetched has a cache of its own."""
        self._directory = directory
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
                made = self._made[python, machine] = self._make(python, machine)
            return made

    def _make(self, python: str, machine: str) -> Bundle:
        try:
            with TemporaryDirectory(prefix="iris-wheels-") as directory:
                wheels = collect_wheels(Path(directory), (PROGRAM,), (python,), (machine,))
                return build_bundle(wheels, self._directory)
        except BundleError as error:
            raise Refused(f"the agent cannot be packed for Python {python} on {machine}: {error}") from error
