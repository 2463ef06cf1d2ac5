"""`host.json`: everything about a host that its platform knew before the host was there."""

from __future__ import annotations

import json
from pathlib import Path

from iris_platform.env_probe.environment import (
    HOST_FILE,
    Environment,
    make_environment,
    number_of,
    read_fields,
    text_of,
)
from iris_platform.files import write_atomic


def read_host_file(path: Path) -> Environment:
    """The environment that `write_environment` wrote. Unknown fields are ignored.

    Raises:
        ProbeError: naming the file, the field and what was expected.
    """
    value = read_fields(path)
    index = number_of(path, value, "worker_index", least=0)
    return make_environment(path, value, index, text_of(path, value, "address"))


def write_environment(host_dir: Path, environment: Environment) -> None:
    """Write `host.json` for `probe` to read; of a machine of Google's it would say less than the machine.

    Raises:
        OSError: it could not be written.
    """
    value = vars(environment) | {
        "labels": dict(environment.labels),
        "controller_file": str(environment.controller_file),
    }
    del value["tpu"]
    write_atomic(host_dir / HOST_FILE, json.dumps(value, indent=1).encode("utf-8") + b"\n")
