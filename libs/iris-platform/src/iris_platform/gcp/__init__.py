"""TPU slices on Google Cloud: nodes and queued resources of one project.

Importing this package imports nothing of Google (see `platform`).
"""

from __future__ import annotations

from iris_platform import PlatformSettings
from iris_platform.gcp.platform import TpuPlatform, TpuVmManager

__all__ = ["TpuPlatform", "TpuVmManager", "make_platform"]


def make_platform(settings: PlatformSettings) -> TpuPlatform:
    """The platform of one project's TPU slices."""
    return TpuPlatform(settings)
