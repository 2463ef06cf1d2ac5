"""Content-addressed bundles: all the wheels that a bare host needs, in one file.

A bundle is a zip file whose name is the sha256 of its bytes and which any Python
can run: it holds wheels for several Pythons and architectures side by side, a
manifest, and the installer (`installer.py`). See docs/decisions/009-bundle.md.

    wheels = collect_wheels()                    # needs pip, and the network once
    bundle = build_bundle(wheels, out_dir)       # the same wheels, the same bytes
"""

from iris_platform.bundle.archive import Bundle, BundleError, build_bundle, open_bundle
from iris_platform.bundle.collect import (
    MACHINES,
    PROGRAMS,
    PYTHONS,
    collect_wheels,
    missing_wheels,
    wheel_cache,
)
from iris_platform.bundle.shelf import AGENT, KINDS_FILE, Shelf, kind_of

__all__ = [
    "AGENT",
    "KINDS_FILE",
    "MACHINES",
    "PROGRAMS",
    "PYTHONS",
    "Bundle",
    "BundleError",
    "Shelf",
    "build_bundle",
    "collect_wheels",
    "kind_of",
    "missing_wheels",
    "open_bundle",
    "wheel_cache",
]
