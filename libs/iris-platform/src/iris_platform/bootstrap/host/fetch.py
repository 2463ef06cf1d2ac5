"""Which bundle a host is to have, and where its file is: there already, or fetched.

Trusts the digest, and nothing that the host trusts.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from iris_platform.bootstrap.host.layout import Layout
from iris_platform.bootstrap.host.outcome import HOST_TROUBLE, REFUSED, Failure

_PART = 1 << 18


def choose_bundle(bundle: Mapping[str, Any]) -> Mapping[str, Any]:
    """The one for this very Python and machine, where the document has several.

    Raises:
        Failure: none of them is.
    """
    kinds = bundle.get("kinds")
    if not kinds:
        return bundle
    kind = "{}.{} {}".format(*sys.version_info[:2], os.uname().machine)
    sha256 = kinds.get(kind)
    if sha256 is None:
        there = ", ".join(sorted(kinds))
        raise Failure("bundle", f"there is no bundle for Python {kind}; there are some for {there}", REFUSED)
    chosen = {name: value for name, value in bundle.items() if name != "kinds"}
    return {**chosen, "sha256": sha256, "url": f"{bundle['url']}{sha256}"}


def fetch_bundle(layout: Layout, bundle: Mapping[str, Any]) -> Path:
    """The bundle's file on this host, checked against its digest.

    Raises:
        Failure: it is not where it should be, cannot be had, or is another.
    """
    if bundle.get("path"):
        path = Path(str(layout.filled(bundle["path"])))
        if _digest(path) != bundle["sha256"]:
            raise Failure("bundle", f"{path}: not the bundle {bundle['sha256']}: upload it again", REFUSED)
        return path
    if not bundle.get("url"):
        raise Failure("bundle", "the document names no bundle and no image", REFUSED)
    # Hosts that are given theirs have no use for what that needs.
    from iris_platform.bootstrap.host.download import download

    return download(layout, bundle)


def _digest(path: Path) -> str:
    sha = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while part := file.read(_PART):
                sha.update(part)
    except OSError as error:
        raise Failure("bundle", f"{path}: cannot read: {error.strerror}", HOST_TROUBLE) from error
    return sha.hexdigest()


def discard(layout: Layout, archive: Path) -> None:
    """Remove a bundle's file after its installation, where it was on its way to us."""
    with suppress(OSError):
        if archive.parent.samefile(layout.incoming):
            archive.unlink()
