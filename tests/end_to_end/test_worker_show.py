"""What one worker says of itself and of its slice, on a real cluster."""

from __future__ import annotations

from tests.end_to_end.conftest import MakeCluster


def test_a_worker_with_its_tasks_events_and_log(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(slice_size=2)
    with cluster.events() as watch:
        job_id = cluster.submit("--replicas", "2", "--gang", "--cpu", "2", "--", "sleep", "1000")
        watch.wait_for("job", "RUNNING")
    listed = {w["place"]["worker_index"]: w for w in cluster.json("worker", "list")["workers"]}
    place = listed[1]["place"]
    shown = cluster.json("worker", "show", f"{place['slice_name']}/1")
    changing = {"last_contact_at"}
    assert {key: shown[key] for key in listed[1].keys() - changing} == {
        key: value for key, value in listed[1].items() if key not in changing
    }
    (task,) = shown["tasks"]
    assert (task["job_id"], task["attempt"]["place"]) == (job_id, place)
    assert [e["what"] for e in shown["events"] if e["kind"] == "slice"][-1] == "READY"
    assert [e["what"] for e in shown["events"] if e["kind"] == "worker"] == ["HEALTHY"]
    assert (shown["accelerator_type"], shown["address"], shown["log_error"]) == ("cpu", "127.0.0.1", "")
    assert "keeper[" in shown["log_tail"]
    text = cluster.iris("worker", "show", place["slice_name"], "1").out
    assert text.endswith(f"\nlog:\n{shown['log_tail']}") and job_id in text
    missing = cluster.iris("worker", "show", f"{place['slice_name']}/2", expect=3)
    assert f"{place['slice_name']}/0, {place['slice_name']}/1" in missing.err
