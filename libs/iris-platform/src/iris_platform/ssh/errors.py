"""What can be wrong with a host over SSH, beyond what every platform can say."""

from __future__ import annotations

from iris_platform.base import Refused


class HostKeyChanged(Refused):
    """The host shows another key than the one pinned: it is not trusted."""


class RemoteFileMissing(Refused):
    """There is no such file at the other end."""


class SshUnavailable(Refused):
    """This installation cannot speak SSH."""
