"""Pages for people, whose commands tests type."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from tests.harness.cluster import LocalCluster

ROOT = Path(__file__).resolve().parent.parent.parent


def blocks(page: str, heading: str, kind: str) -> list[str]:
    """The fenced blocks of a kind below a heading (`## Use it`), up to the next of the second level."""
    _, _, rest = f"\n{(ROOT / page).read_text()}".partition(f"\n{heading}\n")
    section, _, _ = rest.partition("\n## ")
    return re.findall(f"```{kind}\n(.*?)```", section, re.DOTALL)


def environ_of(cluster: LocalCluster) -> dict[str, str]:
    """As the page's reader has it: `iris` is on the PATH."""
    return {**cluster.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
