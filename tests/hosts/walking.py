"""Runs the commands of a page of docs/, word for word; only addresses, keys and projects are the bench's."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Mapping

from tests.harness.cluster import LocalCluster
from tests.harness.pages import blocks, environ_of


def walk(cluster: LocalCluster, replaced: Mapping[str, str], page: str, heading: str) -> str:
    """What the commands below a heading printed; each has to succeed."""
    config, commands = (blocks(f"docs/{page}", heading, kind)[0] for kind in ("yaml", "sh"))
    for old, new in replaced.items():
        assert old in config
        config = config.replace(old, new)
    (file,) = set(re.findall(r"\S+\.yaml", commands))
    (cluster.home / file).write_text(config)
    environ = environ_of(cluster)
    said = ""
    for line in commands.splitlines():
        words = shlex.split(line)
        done = subprocess.run(
            words, cwd=cluster.home, env=environ, capture_output=True, text=True, timeout=100, check=False
        )
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
        said += done.stdout
    assert "controller: not running" in said
    return said
