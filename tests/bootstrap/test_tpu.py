"""What TPU programs find in their environment (B55)."""

from pathlib import Path
from types import MappingProxyType

from iris_bootstrap.attempt import AttemptKey
from iris_bootstrap.session.outputs import StartProcess
from iris_bootstrap.session.tpu import tpu_environment
from iris_bootstrap.session.translate import job_frame
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
