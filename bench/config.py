"""Reading a configuration of 200 groups, against what its YAML alone costs.

The limit is PyYAML's composer in C, which builds nodes with positions and knows
nothing of what they mean. In this process, since both are a matter of milliseconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import yaml

from bench.measure import Benchmark, Floor, Lineup, Role, Sample, Scale, Setting, Subject, Unit, Work
from iris_config import MachineFacts, load_config

COMPOSE = "yaml.compose in C"
MACHINE = MachineFacts(cores=2, memory_bytes=1 << 34)

# As people write them: some of everything, and a comment.
_GROUP = """\
  tpu_{number}:
    provider:
      tpu:
        project_id: my-project
    accelerator_type: v5litepod-16 # four hosts
    zones: [europe-west4-b, us-west4-a]
    capacity: on_demand
    max_slices: 4
    priority: {number}
    idle_timeout: 5m
    host_resources: {{ cpu: 112, memory: 192GiB }}
"""


def _text(groups: int) -> str:
    head = "name: bench\ncontroller: { advertise_address: iris.example.com }\nscale_groups:\n"
    return head + "".join(_GROUP.format(number=number) for number in range(groups))


def _subject(name: str, role: Role, wanted: int, act: Callable[[], int], against: str = "") -> Subject:
    def measure() -> Sample:
        before = time.perf_counter()
        found = act()
        return Sample((time.perf_counter() - before,), Work("groups", wanted, found))

    return Subject(name, role, measure, against)


@contextmanager
def _lineup(setting: Setting) -> Iterator[Lineup]:
    path = setting.scratch / "bench.yaml"
    path.write_text(_text(setting.size))

    def compose() -> int:
        root = yaml.compose(path.read_text("utf-8"), Loader=yaml.CSafeLoader)
        return len(root.value[2][1].value)

    def load() -> int:
        return len(load_config(path, machine=MACHINE, environment={}).scale_groups)

    # The stubs of a descriptor are looked at once in a process.
    load()
    yield [
        _subject(COMPOSE, Role.LIMIT, setting.size, compose),
        _subject("load_config", Role.PRODUCT, setting.size, load, COMPOSE),
    ]


CONFIG = Benchmark(
    name="config",
    number=0,
    title="a configuration, from its file to an effective and valid message",
    unit=Unit.SECONDS,
    full=Scale(rounds=51, size=200),
    smoke=Scale(rounds=1, size=3),
    floors=(Floor("load_config", 3.0, against=COMPOSE),),
    lineup=_lineup,
)
