"""Slices as processes on this machine: `iris-bootstrap`, detached, per host.

They are found again through what is on disk and in the process table, so they
and their tasks outlive a controller that is killed.
"""

from __future__ import annotations

from iris_platform.local.census import Found, take_census
from iris_platform.local.platform import LocalPlatform, LocalVmManager, make_platform

__all__ = ["Found", "LocalPlatform", "LocalVmManager", "make_platform", "take_census"]
