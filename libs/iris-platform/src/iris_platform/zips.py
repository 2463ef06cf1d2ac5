"""Zip files that are the same bytes whenever and wherever they are made."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

# The earliest time that a zip file can hold.
_EPOCH = (1980, 1, 1, 0, 0, 0)
_UNIX = 3


def make_zip(members: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip file of `members` (name -> content), each a plain file that all may read."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        for name in sorted(members):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system, entry.external_attr = _UNIX, 0o644 << 16
            packed.writestr(entry, members[name], compression)
    return out.getvalue()
