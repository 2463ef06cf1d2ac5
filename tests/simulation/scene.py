"""What a seed begins with: a cluster's configuration, and what its programs will do."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from iris_bootstrap.attempt import AttemptKey
from iris_bootstrap.keeper.attempts import Exit, Exited, Signalled
from iris_controller.codec.settings import settings, timings
from iris_controller.core.entities import Settings
from iris_controller.core.values import JobSpec
from iris_proto.v1 import config_pb2, job_pb2, worker_pb2

CLUSTER = "sim"
GIB = 1024**3
ZONES = ("here", "there", "yonder")
# The wall clock of a simulation starts here.
FIRST_WALL_MS = 1_700_000_000_000
# Longer than any simulation.
ENDLESS_MS = 100_000_000


@dataclass(frozen=True)
class Scene:
    """One cluster. `quotas` limits the slices of each provider in each zone, all groups together."""

    seed: int
    settings: Settings
    timings: worker_pb2.Timings
    quotas: dict[tuple[str, str], int]
    tick_ms: int
    faults_ms: int
    jobs: int
    # How far the mirror of the commit number is written ahead.
    commit_block: int
    # Whether the controller is gone for good in the end.
    is_abandoned: bool
    # Whether gangs are on several slices.
    is_wide: bool


@dataclass(frozen=True)
class Run:
    """What one program does: ends by itself, or answers to SIGTERM within `term_ms` (None: never)."""

    duration_ms: int
    exit: Exit
    term_exit: Exit
    term_ms: int | None
    log_bytes: int


def make_scene(seed: int) -> Scene:
    """The cluster of a seed."""
    random, clouds = Random(f"{seed}/scene"), Random(f"{seed}/clouds")
    config = config_pb2.IrisClusterConfig(name=CLUSTER)
    waits = config.timeouts
    waits.beat_interval.FromMilliseconds(random.choice((2_000, 3_000, 5_000)))
    waits.suspect_after.FromMilliseconds(random.choice((8_000, 12_000)))
    waits.stop_grace.FromMilliseconds(random.choice((1_000, 4_000)))
    waits.fence_after.FromMilliseconds(random.choice((14_000, 20_000)))
    waits.orphan_timeout.FromMilliseconds(random.choice((90_000, 150_000)))
    config.autoscaler.evaluation_interval.FromMilliseconds(random.choice((2_000, 10_000)))
    config.autoscaler.max_creates_per_minute = random.choice((3, 10, 60))
    providers = [random.choice(("local", "manual", "tpu")) for _ in range(2)]
    for number in range(random.choice((1, 1, 2, 3))):
        name = f"group_{number}" if number % 2 else f"g{number}"
        _fill_group(config.scale_groups[name], name, random.choice(providers), random)
        if config.scale_groups[name].provider.HasField("tpu"):
            _fill_cloud(config.scale_groups[name], clouds)
    # Few, so that what the others play is as it was.
    is_wide = seed % 10 == 4
    if is_wide:
        for group in config.scale_groups.values():
            _widen(group, Random(f"{seed}/wide/{group.name}"))
    made = settings(config, _cluster_id(random))
    most = 2 + sum(g.max_slices for g in made.groups.values())
    quotas = {(p, "here"): random.randint(1, most) for p in ("local", "manual", "tpu")}
    for provider in ("local", "manual", "tpu"):
        for zone in ZONES[1:]:
            is_cloud = provider == "tpu"
            quotas[provider, zone] = clouds.randint(1, most) if is_cloud else quotas[provider, "here"]
    if is_wide:
        # What has no room for a gang in any zone would wait for ever.
        quotas = dict.fromkeys(quotas, most)
    return Scene(
        seed=seed,
        settings=made,
        timings=timings(config),
        quotas=quotas,
        tick_ms=random.choice((250, 500, 1_000)),
        faults_ms=random.randint(60_000, 300_000),
        jobs=random.randint(2, 12),
        commit_block=random.choice((1, 5, 10_000)),
        is_abandoned=random.random() < 0.15,
        is_wide=is_wide,
    )


def _cluster_id(random: Random) -> str:
    return "".join(random.choice("abcdefghijklmnopqrstuvwxyz234567") for _ in range(10))


def _fill_group(group: config_pb2.ScaleGroupConfig, name: str, provider: str, random: Random) -> None:
    group.name = name
    match provider:
        case "local":
            group.provider.local.SetInParent()
        case "manual":
            group.provider.manual.hosts.append("10.0.0.1")
        case _:
            group.provider.tpu.project_id = "project"
    group.zones.append(random.choice(ZONES[:2]))
    group.max_slices = random.randint(1, 3)
    group.min_slices = random.choice((0, 0, 1))
    group.buffer_slices = random.choice((0, 0, 0, 1))
    group.priority = random.choice((10, 20, 20))
    group.slice_size = random.choice((1, 1, 2, 4))
    group.host_resources.cpu = random.choice((2, 4, 8))
    group.host_resources.memory = random.choice((0, 8, 16)) * GIB
    group.idle_timeout.FromMilliseconds(random.choice((5_000, 15_000, 30_000)))
    group.boot_timeout.FromMilliseconds(random.choice((20_000, 40_000)))
    group.task_lease.FromMilliseconds(random.choice((15_000, 30_000, 60_000, 90_000)))
    if provider == "tpu" and random.random() < 0.3:
        # Enough of them for what is allowed to happen to a few at once.
        group.min_slices, group.max_slices, group.slice_size = 4, 5, 1


def _fill_cloud(group: config_pb2.ScaleGroupConfig, random: Random) -> None:
    """What only groups on a cloud have."""
    group.provider.tpu.project_id = random.choice(("project", "project", "other"))
    group.capacity = random.choice((config_pb2.CAPACITY_SPOT, config_pb2.CAPACITY_ON_DEMAND))
    others = [zone for zone in ZONES if zone not in group.zones]
    group.zones.extend(random.sample(others, random.randint(0, 2)))
    if random.random() < 0.5:
        group.accelerator_type = f"v5litepod-{4 * group.slice_size}"
    if random.random() < 0.3:
        group.provider.tpu.queued_resources.valid_for.FromMilliseconds(random.choice((60_000, 120_000)))


def _widen(group: config_pb2.ScaleGroupConfig, random: Random) -> None:
    """Room for a gang over several slices; few are kept, since those may be in several zones."""
    group.max_slices = max(group.max_slices, random.randint(2, 4))
    group.min_slices, group.buffer_slices = min(group.min_slices, 1), 0


def make_job(scene: Scene, number: int, random: Random) -> job_pb2.JobSpec:
    """Something that a person submits. Some of it can run nowhere."""
    spec = job_pb2.JobSpec(name=f"job {number}", command=["train", str(number)])
    spec.replicas = random.choice((1, 1, 2, 3, 5, 12, 30))
    spec.max_failures = random.choice((0, 0, 1, 3))
    spec.max_losses = random.choice((0, 1, 100, 100, 100))
    offers = [group.host_resources for group in scene.settings.groups.values()]
    if random.random() < 0.7:
        offer = random.choice(offers)
        spec.resources.cpu_millis = random.choice((0, 500, 1_000, offer.cpu_millis))
        if offer.memory_bytes and random.random() < 0.5:
            spec.resources.memory_bytes = random.randint(1, offer.memory_bytes)
    if random.random() < 0.05:
        spec.resources.cpu_millis = 1 + max(offer.cpu_millis for offer in offers)
    if random.random() < 0.5:
        spec.stop_grace.FromMilliseconds(random.choice((0, 500, 8_000)))
    # Read again by `plan_run`, on the host.
    if random.random() < 0.3:
        _make_gang(spec, scene, random)
    _ask_for_accelerator(spec, scene, Random(f"{scene.seed}/accelerator/{number}"))
    if scene.is_wide:
        _ask_for_slices(spec, scene, Random(f"{scene.seed}/slices/{number}"))
    spec.env["FAILS_PERCENT"] = random.choice(("0", "0", "20", "60"))
    spec.env["LONGEST_MS"] = random.choice(("0", "2000", "10000", "40000" if spec.replicas <= 3 else "500"))
    if random.random() < 0.15:
        spec.env["LONGEST_MS"] = str(ENDLESS_MS)
    elif spec.gang and random.random() < 0.3:
        spec.env["LEADER_FAILS"] = "1"
    return spec


def _ask_for_accelerator(spec: job_pb2.JobSpec, scene: Scene, random: Random) -> None:
    """Half of what may; as many tasks as it has hosts, but some ask for what nobody has."""
    accelerators = sorted({group.accelerator for group in scene.settings.groups.values()} - {""})
    if accelerators and random.random() < 0.5:
        spec.accelerator = random.choice([*accelerators, *accelerators, "v5litepod-64"])
        spec.replicas = random.choice((0, 0, 0, 1))
        spec.ClearField("resources")


def _make_gang(spec: job_pb2.JobSpec, scene: Scene, random: Random) -> None:
    """A gang, most of which some scale group has room for."""
    group = random.choice(list(scene.settings.groups.values()))
    spec.gang = True
    spec.replicas = random.randint(2, 6)
    spec.max_failures = random.randint(0, 2)
    per_host = -(-spec.replicas // group.hosts)
    offer = group.host_resources
    spec.resources.cpu_millis = random.choice((0, 500, offer.cpu_millis // per_host))
    spec.resources.memory_bytes = random.choice((0, offer.memory_bytes // per_host))


def _ask_for_slices(spec: job_pb2.JobSpec, scene: Scene, random: Random) -> None:
    """Most jobs are a gang over several slices of some group; a few want one more than it may have."""
    if random.random() < 0.3:
        return
    group = random.choice(list(scene.settings.groups.values()))
    spec.slices = random.choice((2, 2, 2, group.max_slices)) + (random.random() < 0.05)
    spec.accelerator, spec.gang, spec.replicas = group.accelerator, False, 0
    spec.ClearField("resources")
    if not group.accelerator:
        share = random.randint(1, 3)
        spec.gang, spec.replicas = True, share * spec.slices
        per_host = -(-share // group.hosts)
        spec.resources.cpu_millis = random.choice((0, 500, group.host_resources.cpu_millis // per_host))
        spec.resources.memory_bytes = random.choice((0, group.host_resources.memory_bytes // per_host))


def is_endless(spec: JobSpec) -> bool:
    """Whether somebody has to stop this job for it to end."""
    return int(spec.env["LONGEST_MS"]) >= ENDLESS_MS


def longest_work_ms(spec: JobSpec) -> int:
    """How long a job takes at most if its tasks run one after the other and nothing is lost."""
    if is_endless(spec):
        return 0
    return spec.replicas * (1 + spec.max_failures) * int(spec.env["LONGEST_MS"])


def plan_run(seed: int, key: AttemptKey, spec: job_pb2.JobSpec) -> Run:
    """What the program of an attempt does, wherever it runs."""
    random = Random(f"{seed}/run/{key}")
    exit_: Exit = Exited(0)
    if random.randrange(100) < int(spec.env["FAILS_PERCENT"]):
        exit_ = random.choice((Exited(1), Exited(random.randint(2, 255)), Signalled(9), Signalled(11)))
    longest_ms = int(spec.env["LONGEST_MS"])
    if "LEADER_FAILS" in spec.env:
        # The others wait for it, for ever.
        longest_ms, exit_ = (2_000, Exited(1)) if key.task_index == 0 else (ENDLESS_MS, exit_)
    return Run(
        duration_ms=longest_ms if longest_ms >= ENDLESS_MS else random.randint(0, longest_ms),
        exit=exit_,
        term_exit=random.choice((Signalled(15), Exited(0), Exited(3))),
        term_ms=random.choice((0, 100, 1_500, None)),
        log_bytes=random.choice((0, 0, 100, 100_000)),
    )
