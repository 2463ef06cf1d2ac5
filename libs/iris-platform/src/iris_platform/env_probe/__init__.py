"""Where am I? What the agent on a host must know before it can join.

One function, `probe`, chooses the source: `host.json` where the platform knew
all of it beforehand (manual, local); else `slice-facts.json`, which is the same
on all hosts of a slice, and the machine's metadata server for what differs.
"""

from __future__ import annotations

from pathlib import Path

from iris_platform.env_probe.environment import HOST_FILE, Environment, ProbeError, TpuHost
from iris_platform.env_probe.files import read_host_file, write_environment
from iris_platform.env_probe.google import read_google
from iris_platform.self_deletion import FACTS_FILE

__all__ = [
    "FACTS_FILE",
    "HOST_FILE",
    "Environment",
    "ProbeError",
    "TpuHost",
    "probe",
    "write_environment",
]

# The metadata server may come up after us; a session has a minute to say its first word.
PROBE_S = 30.0


def probe(host_dir: Path, timeout_s: float = PROBE_S) -> Environment:
    """What this host is; waits for a metadata server for `timeout_s`.

    Raises:
        ProbeError: the source is missing, a field of it is, or two of them contradict each other.
    """
    if (host_dir / HOST_FILE).exists():
        return read_host_file(host_dir / HOST_FILE)
    if (host_dir / FACTS_FILE).exists():
        return read_google(host_dir / FACTS_FILE, timeout_s)
    raise ProbeError(
        f"{host_dir / HOST_FILE}: cannot read: No such file or directory; there is no {FACTS_FILE}"
        " either, so this is no host that a platform made"
    )
