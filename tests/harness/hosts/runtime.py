#!/usr/bin/env python3
"""The OCI runtime of hosts with an engine: runc, asked for no more than this machine can give.

Where CAP_SYS_RESOURCE is missing nobody may raise a limit or lower a score, and
engines ask for both, and for the capability itself. Hosts also have a boot id
of their own over the kernel's, which a new mount of /proc would uncover. Runs on
the host, by itself: standard library only.
"""

import json
import os
import resource
import sys
from typing import Any

RUNC = ("/usr/sbin/runc", "/usr/bin/runc")
BOOT_ID = "/run/lab/boot_id"
MISSING = "CAP_SYS_RESOURCE"


def main(words: list[str]) -> None:
    """Become runc, with a changed config.json where a container is made."""
    if "create" in words or "run" in words:
        bundle = next((words[n + 1] for n, word in enumerate(words) if word in ("--bundle", "-b")), ".")
        path = os.path.join(bundle, "config.json")
        with open(path) as file:
            config = json.load(file)
        lower(config["process"])
        keep_boot_id(config, bundle)
        with open(path, "w") as file:
            json.dump(config, file)
    runc = next(path for path in RUNC if os.path.exists(path))
    os.execv(runc, ["runc", *words])


def lower(process: dict[str, Any]) -> None:
    """Take what we may give."""
    for limit in process.get("rlimits") or ():
        most = resource.getrlimit(getattr(resource, limit["type"]))[1]
        if most != resource.RLIM_INFINITY:
            limit["hard"], limit["soft"] = min(limit["hard"], most), min(limit["soft"], most)
    for kind, names in (process.get("capabilities") or {}).items():
        process["capabilities"][kind] = [name for name in names if name != MISSING]
    process["oomScoreAdj"] = max(process.get("oomScoreAdj", 0), 0)


def keep_boot_id(config: dict[str, Any], bundle: str) -> None:
    """As host.sh does it for the host; a plain mount below /proc is refused by runc.

    For containers that see the host's processes: others have boots of their own.
    """
    if any(space["type"] == "pid" for space in config["linux"]["namespaces"]):
        return
    root = os.path.join(os.path.abspath(bundle), config["root"]["path"])
    mount = ["mount", "--bind", BOOT_ID, f"{root}/proc/sys/kernel/random/boot_id"]
    hooks = config.setdefault("hooks", {}).setdefault("createContainer", [])
    hooks.append({"path": "/bin/mount", "args": mount})


if __name__ == "__main__":
    main(sys.argv[1:])
