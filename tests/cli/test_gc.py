"""What `cluster gc` says in the end of what it saw and of what it did not."""

from pathlib import Path

from iris_cli.commands.cluster_gc import _found
from iris_cli.locate import Cluster
from iris_platform import ClusterPaths

UNSEEN = {"zone": "west", "name": "", "why": "401"}
ORPHAN = {"zone": "east", "name": "s-1", "why": "READY"}


def cluster(tmp_path: Path) -> Cluster:
    return Cluster("demo", ClusterPaths(tmp_path / "state", tmp_path / "pki", tmp_path / "local"), None)


def test_a_zone_that_was_not_seen_is_not_said_to_hold_anything(tmp_path: Path) -> None:
    error = _found(cluster(tmp_path), [UNSEEN])
    assert error.status == 6
    assert error.message.startswith("not every zone of cluster demo could be listed")
    assert error.details == ("zone west: could not be listed: 401",)
    assert error.hint.endswith("cluster gc")


def test_beside_what_has_no_owner_it_is_named_too(tmp_path: Path) -> None:
    error = _found(cluster(tmp_path), [UNSEEN, ORPHAN])
    assert error.message == "something of cluster demo has no owner"
    assert error.details[:2] == (
        "zone west: could not be listed: 401",
        "left in zone east: slice s-1 (READY)",
    )
    assert error.details[2].endswith("cluster gc --delete")
