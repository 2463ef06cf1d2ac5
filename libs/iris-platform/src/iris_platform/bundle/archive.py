"""Makes a bundle out of wheels. Knows no registry, no pip and no host."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from iris_platform.bundle import installer
from iris_platform.bundle.wheels import BundleError, Wheel, applies, environment, read_wheel
from iris_platform.files import make_private_dir, write_atomic
from iris_platform.zips import make_zip

__all__ = ["Bundle", "BundleError", "build_bundle", "open_bundle"]

FORMAT = 1
# What a program loads only after it was asked to run, and needs nevertheless. It is compiled
# when it is installed: what every start loads belongs here.
_BOTH = ["cryptography.hazmat.backends.openssl.backend", "iris_platform.streams"]
CHECKS: Mapping[str, Sequence[str]] = {
    "iris-bootstrap": [
        *_BOTH,
        "iris_bootstrap.__main__",
        "iris_bootstrap.deletion",
        "iris_bootstrap.join",
        "iris_bootstrap.keeper.boot",
        "iris_bootstrap.launch",
        "iris_bootstrap.session.main",
        "iris_bootstrap.session.renewal",
    ],
    "iris-controller": [*_BOTH, "iris_controller.serve"],
}
_NEWEST_MINOR = 30
_INSTALLER = ("installer.py", "tags.py", "unpack.py")
# Old enough to be read by any Python at all, which is what it is there for.
_MAIN = """\
import sys
if sys.version_info < (3, 10):
    sys.exit("python3 %d.%d is too old: Iris needs 3.10 or later" % sys.version_info[:2])
from iris_platform.bundle.installer import main
sys.exit(main())
"""


@dataclass(frozen=True)
class Bundle:
    """A bundle on this machine; `path` ends in `sha256`, the digest of its bytes."""

    sha256: str
    path: Path
    manifest: Mapping[str, Any] = field(repr=False)


def build_bundle(wheels: Path | Iterable[Path], out_dir: Path) -> Bundle:
    """Pack wheels, the manifest and the installer into `out_dir/<sha256>`.

    `wheels` is a directory or a list of files. The same wheels make the same
    bytes wherever and whenever that is done.

    Raises:
        BundleError: one of them is no wheel, a program's dependency is missing,
            or the file cannot be written.
    """
    paths = sorted(wheels.glob("*.whl")) if isinstance(wheels, Path) else list(wheels)
    found = {path.name: read_wheel(path) for path in paths}
    ordered = [found[name] for name in sorted(found)]
    manifest = {
        "format": FORMAT,
        "programs": _programs(ordered),
        "wheels": [_describe(wheel) for wheel in ordered],
    }
    if not manifest["programs"]:
        raise BundleError("no wheel has a program: is iris-bootstrap among them?")
    return _write(manifest, {wheel.path.name: wheel.path.read_bytes() for wheel in ordered}, out_dir)


def open_bundle(path: Path) -> Bundle:
    """A bundle that was built before.

    Raises:
        BundleError: it cannot be read, or its bytes do not have its name.
    """
    try:
        data = path.read_bytes()
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            manifest = json.loads(packed.read(installer.MANIFEST))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise BundleError(f"{path}: not a bundle: {error}") from error
    sha = hashlib.sha256(data).hexdigest()
    if sha != path.name:
        raise BundleError(f"{path}: damaged: its digest is {sha}; remove it and build it again")
    return Bundle(sha, path, manifest)


def _describe(wheel: Wheel) -> dict[str, Any]:
    return {
        "file": wheel.path.name,
        "name": wheel.name,
        "version": wheel.version,
        "tags": list(wheel.tags),
        "sha256": wheel.sha256,
        "unpacked": wheel.unpacked,
        "files": wheel.files,
        "python": list(wheel.python),
    }


def _programs(wheels: Sequence[Wheel]) -> dict[str, Any]:
    """Every `iris-…` program: where it begins, on which Pythons, and what it needs on each."""
    by_name: dict[str, Wheel] = {wheel.name: wheel for wheel in wheels}
    found = {}
    for wheel in wheels:
        for program in wheel.programs:
            if not program.name.startswith("iris-"):
                continue
            found[program.name] = {
                "distribution": wheel.name,
                "module": program.module,
                "function": program.function,
                "python": list(wheel.python),
                "checks": sorted({program.module, *CHECKS.get(program.name, ())}),
                "needs": _needs(wheel, by_name),
            }
    return found


def _needs(top: Wheel, by_name: Mapping[str, Wheel]) -> dict[str, list[str]]:
    """The distributions that `top` needs, itself included, by the minor version of Python.

    Only where it differs from the version before: it rarely does.
    """
    needs: dict[str, list[str]] = {}
    last: list[str] = []
    for minor in range(top.python[1], _NEWEST_MINOR):
        names = sorted(_closure(top, by_name, minor))
        if names != last:
            needs[str(minor)] = last = names
    return needs


def _closure(top: Wheel, by_name: Mapping[str, Wheel], minor: int) -> set[str]:
    # No dependency of ours differs between the two architectures.
    markers = environment(minor, "x86_64")
    done: set[tuple[str, str]] = set()
    todo: list[tuple[Wheel, str]] = [(top, "")]
    while todo:
        wheel, extra = todo.pop()
        if (wheel.name, extra) in done:
            continue
        done.add((wheel.name, extra))
        for requirement in wheel.requires:
            if not applies(requirement, [extra], markers):
                continue
            name = canonicalize_name(requirement.name)
            if name not in by_name:
                raise BundleError(
                    f"{wheel.path.name} needs {requirement} on Python 3.{minor}, which is not among the wheels"
                )
            todo += [(by_name[name], wanted) for wanted in ("", *requirement.extras)]
    return {name for name, _ in done}


def _write(manifest: Mapping[str, Any], wheels: Mapping[str, bytes], out_dir: Path) -> Bundle:
    data = _pack(manifest, wheels)
    sha = hashlib.sha256(data).hexdigest()
    path = out_dir / sha
    try:
        make_private_dir(out_dir)
        if not path.exists():
            write_atomic(path, data)
    except OSError as error:
        raise BundleError(f"{path}: cannot write the bundle: {error.strerror}") from error
    return Bundle(sha, path, manifest)


def _pack(manifest: Mapping[str, Any], wheels: Mapping[str, bytes]) -> bytes:
    source = resources.files("iris_platform.bundle")
    members = {
        "__main__.py": _MAIN.encode("ascii"),
        # Instead of ours, which import what no host needs.
        "iris_platform/__init__.py": b"",
        "iris_platform/bundle/__init__.py": b"",
        **{f"iris_platform/bundle/{name}": source.joinpath(name).read_bytes() for name in _INSTALLER},
        installer.MANIFEST: json.dumps(manifest, indent=1, sort_keys=True).encode("utf-8") + b"\n",
    } | {f"wheels/{name}": data for name, data in wheels.items()}
    # Stored: wheels are compressed already, and another zlib would make other bytes.
    return make_zip(members, zipfile.ZIP_STORED)
