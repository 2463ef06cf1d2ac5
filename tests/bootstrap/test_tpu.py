"""What TPU programs find in their environment (B55)."""

from pathlib import Path
from types import MappingProxyType

from iris_bootstrap.attempt import AttemptKey
from iris_bootstrap.session.outputs import ReleaseProcess, StartProcess
from iris_bootstrap.session.tpu import multislice_environment, tpu_environment
from iris_bootstrap.session.translate import job_frame, release_frame, start_frame
from iris_platform.env_probe import Environment, TpuHost
from iris_proto.v1.job_pb2 import JobSpec
from iris_proto.v1.worker_pb2 import AttemptSpec, JobContext

BOUNDS = {"TPU_CHIPS_PER_HOST_BOUNDS": "2,2,1", "TPU_HOST_BOUNDS": "1,2,1", "TPU_TOPOLOGY": "2x4"}
IRIS = {"IRIS_JOB_ID": "j1", "IRIS_TASK_COUNT": "2", "IRIS_CLUSTER": "demo"}


def place(tpu: TpuHost | None) -> Environment:
    return Environment(
        cluster="demo",
        cluster_id="abcdefghij",
        slice_name="iris-abcdefghij-tpu-1-1",
        worker_index=1,
        group="tpu",
        zone="us-central2-b",
        accelerator_type="v5litepod-8",
        cpu_millis=1000,
        memory_bytes=0,
        labels=MappingProxyType({}),
        controller_file=Path("/nowhere"),
        address="10.0.0.2",
        tpu=tpu,
    )


def environment(tpu: TpuHost | None, **env: str) -> dict[str, str]:
    job = JobContext(job_id="j1", spec=JobSpec(command=["true"], replicas=2, gang=True, env=env))
    start = StartProcess(AttemptKey("j1", 0, 7, 1), AttemptSpec(), job, 5.0)
    return job_frame(start, "demo", tpu_environment(place(tpu))).env


def test_a_task_sees_its_worker_its_peers_and_its_accelerator() -> None:
    assert environment(TpuHost(("10.0.0.1", "10.0.0.2"), BOUNDS)) == {
        "TPU_WORKER_ID": "1",
        "TPU_WORKER_HOSTNAMES": "10.0.0.1,10.0.0.2",
        "TPU_ACCELERATOR_TYPE": "v5litepod-8",
        "TPU_NAME": "iris-abcdefghij-tpu-1-1",
        "TPU_CHIPS_PER_HOST_BOUNDS": "2,2,1",
        "TPU_HOST_BOUNDS": "1,2,1",
        "TPU_TOPOLOGY": "2x4",
        "TPU_SKIP_MDS_QUERY": "true",
        "PJRT_DEVICE": "TPU",
        **IRIS,
    }


def test_what_we_do_not_know_libtpu_asks_for() -> None:
    env = environment(TpuHost(("10.0.0.1", "10.0.0.2")))
    assert "TPU_SKIP_MDS_QUERY" not in env
    assert env["TPU_WORKER_ID"] == "1"


def test_the_users_own_values_win_but_over_ours() -> None:
    env = environment(
        TpuHost(("10.0.0.1", "10.0.0.2"), BOUNDS), PJRT_DEVICE="CPU", TPU_WORKER_ID="0", IRIS_CLUSTER="x"
    )
    assert (env["PJRT_DEVICE"], env["TPU_WORKER_ID"], env["IRIS_CLUSTER"]) == ("CPU", "0", "demo")


def test_other_hosts_have_none_of_it() -> None:
    assert environment(None) == IRIS


# -- several slices -------------------------------------------------------------------

ADDRESSES = ("10.0.0.1:20001", "10.0.0.2:20002", "10.0.1.1:20003", "10.0.1.2:20004")
HERE = TpuHost(("10.0.1.1", "10.0.1.2"), BOUNDS)


def told(
    task: int, slices: int = 2, tpu: TpuHost | None = HERE, addresses: tuple[str, ...] = ADDRESSES, **env: str
) -> dict[str, str]:
    """All that a member of a gang finds of what its job, its attempt and its release bring."""
    spec = JobSpec(command=["true"], replicas=4, gang=True, slices=slices, env=env)
    job, key = JobContext(job_id="j1", spec=spec), AttemptKey("j1", task, 7, 1)
    start = StartProcess(key, AttemptSpec(), job, 5.0)
    release = ReleaseProcess(key, job, addresses)
    return {
        **job_frame(start, "demo", {}).env,
        **start_frame(start, "controller").env,
        **release_frame(release, multislice_environment(place(tpu), release)).env,
    }


def test_members_on_several_slices_find_each_other() -> None:
    assert told(2) == {
        "IRIS_JOB_ID": "j1",
        "IRIS_TASK_COUNT": "4",
        "IRIS_CLUSTER": "demo",
        "IRIS_CONTROLLER_ADDRESS": "controller",
        "IRIS_COORDINATOR_ADDRESS": "10.0.0.1:20001",
        "IRIS_TASK_ADDRESSES": ",".join(ADDRESSES),
        "IRIS_SLICE_COUNT": "2",
        "IRIS_SLICE_INDEX": "1",
        "MEGASCALE_COORDINATOR_ADDRESS": "10.0.0.1:8080",
        "MEGASCALE_PORT": "8080",
        "MEGASCALE_NUM_SLICES": "2",
        "MEGASCALE_SLICE_ID": "1",
    }
    assert [told(task)["IRIS_SLICE_INDEX"] for task in range(4)] == ["0", "0", "1", "1"]
    assert [told(task, slices=4)["MEGASCALE_SLICE_ID"] for task in range(4)] == ["0", "1", "2", "3"]


def test_on_one_slice_nothing_is_said_of_several() -> None:
    for slices in (0, 1):
        assert not [name for name in told(0, slices) if "SLICE" in name or "MEGASCALE" in name]


def test_programs_elsewhere_are_told_no_more_than_which_slice() -> None:
    env = told(3, tpu=None)
    assert [name for name in env if "SLICE" in name or "MEGASCALE" in name] == [
        "IRIS_SLICE_COUNT",
        "IRIS_SLICE_INDEX",
    ]


def test_the_users_own_megascale_values_win() -> None:
    env = told(2, MEGASCALE_PORT="9000", MEGASCALE_SLICE_ID="7", IRIS_SLICE_INDEX="9")
    assert (env["MEGASCALE_PORT"], env["MEGASCALE_SLICE_ID"], env["IRIS_SLICE_INDEX"]) == ("9000", "7", "1")
    assert env["MEGASCALE_COORDINATOR_ADDRESS"] == "10.0.0.1:9000"


def test_an_address_of_the_newer_kind_keeps_its_brackets() -> None:
    env = told(0, addresses=("[fd00::1]:20001", *ADDRESSES[1:]))
    assert env["MEGASCALE_COORDINATOR_ADDRESS"] == "[fd00::1]:8080"
