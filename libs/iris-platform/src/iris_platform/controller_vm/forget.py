"""Removes what a cluster keeps on this machine between a stop and the next start."""

from __future__ import annotations

import shutil
from contextlib import suppress

from iris_platform.base import Unreachable
from iris_platform.paths import ClusterPaths


def forget_places(paths: ClusterPaths) -> None:
    """Remove the state and the keys of a cluster whose controller does not run.

    Raises:
        Unreachable: something is left; says what.
    """
    for path in (paths.state_dir, paths.pki_dir):
        try:
            with suppress(FileNotFoundError):
                shutil.rmtree(path)
        except OSError as error:
            raise Unreachable(f"{error.filename or path}: cannot be removed: {error.strerror}") from error
    # Where slices were: what lies in it is somebody's.
    with suppress(OSError):
        paths.local_root.rmdir()
