"""What a cloud's machine does beyond what a host does: it deletes its own slice, and leaves word of it."""

from __future__ import annotations

import syslog
from collections.abc import Mapping
from typing import Any

from iris_platform.bootstrap.host import dead_man
from iris_platform.bootstrap.host.report import report_deletion
from iris_platform.self_deletion import FACTS_FILE, delete_own_slice, own_slice


def delete_slice(document: Mapping[str, Any]) -> None:
    """Ask for the deletion of the slice that the document is of, until there is none."""
    syslog.openlog("iris-host")

    def say(words: str) -> None:
        syslog.syslog(f"dead man: {words}")
        report_deletion(words)

    delete_own_slice(own_slice(document["files"][FACTS_FILE]), say, dead_man.pause)
