"""What works, and is probably not meant: the warnings.

Works on the effective message, like `validate`; a literal secret is the one
thing here that depends on how a value was written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from iris_config.accelerators import find_accelerator, is_known_zone
from iris_config.environment import names_a_secret
from iris_config.problems import FieldPath, Finding
from iris_proto.v1 import config_pb2

_NO_FALLBACK = (
    "spot without a fallback: when there is none, work for {} waits; a group of the same type"
    " with capacity: on_demand or reserved would take it"
)
_LOOPBACK = re.compile(r"(localhost|127\.[0-9.]+|\[::1\])(:[0-9]+)?", re.IGNORECASE)


def reach_problem(config: config_pb2.IrisClusterConfig) -> str:
    """Why machines on Google Cloud cannot reach the controller; empty if they can."""
    local = config.controller.WhichOneof("controller") == "local"
    clouds = [name for name, group in config.scale_groups.items() if group.provider.HasField("tpu")]
    address = config.controller.advertise_address
    if not local or not clouds or (address and not _LOOPBACK.fullmatch(address)):
        return ""
    return (
        f"the machines of TPU groups such as {min(clouds)} cannot reach a controller on this machine;"
        " give an advertise_address that they can, or run the controller on gcp"
    )


def cautions(config: config_pb2.IrisClusterConfig, literals: Iterable[FieldPath]) -> Iterator[Finding]:
    """Everything that somebody should look at again.

    `literals` are the named values that were written without `${…}`.
    """
    if reason := reach_problem(config):
        yield ("controller", *(["advertise_address"] if config.controller.advertise_address else [])), reason
    if not config.scale_groups:
        yield ("scale_groups",), "there are none; no job can run"
    steady = {
        group.accelerator_type
        for group in config.scale_groups.values()
        if group.capacity != config_pb2.CAPACITY_SPOT
    }
    for name, group in config.scale_groups.items():
        for path, message in _group(group, steady):
            yield ("scale_groups", name, *path), message
    yield from _secrets(literals)


def _group(group: config_pb2.ScaleGroupConfig, steady: set[str]) -> Iterator[Finding]:
    # With too few hosts it is 0 because of them, which is an error of its own.
    too_few = group.provider.HasField("manual") and len(group.provider.manual.hosts) < group.slice_size
    if group.max_slices == 0 and not too_few:
        yield ("max_slices",), "nothing can ever run here while it is 0"
    is_tpu = group.provider.HasField("tpu")
    try:
        accelerator = find_accelerator(group.accelerator_type)
    except ValueError as error:
        # On TPU groups it is an error; `cpu` is no name of the catalogue's.
        if not is_tpu and group.accelerator_type != "cpu":
            yield ("accelerator_type",), f"not in the catalogue, so no more than a name: {error}"
        return
    if group.capacity == config_pb2.CAPACITY_SPOT and group.accelerator_type not in steady:
        yield ("capacity",), _NO_FALLBACK.format(group.accelerator_type)
    if is_tpu:
        for index, zone in enumerate(group.zones):
            if not is_known_zone(accelerator, zone):
                words = f"as far as we know {zone} does not offer {accelerator.generation}"
                yield ("zones", index), f"{words}; see: iris config accelerators"


def _secrets(literals: Iterable[FieldPath]) -> Iterator[Finding]:
    for path in literals:
        key = str(path[-1])
        if names_a_secret(key):
            words = f"a secret in plain text? Write ${{{key.upper()}}} and set it where iris runs"
            yield path, words
