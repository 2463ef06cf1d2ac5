"""What this machine offers; read at the edge, passed in everywhere else."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class MachineFacts:
    """Processor cores that this process may use, and bytes of memory."""

    cores: int
    memory_bytes: int


def read_machine_facts() -> MachineFacts:
    """The facts of the machine that this process runs on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return MachineFacts(len(os.sched_getaffinity(0)), memory)
