"""What lies under a local root, whoever's it is and whatever its records say."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from iris_platform.base import ClusterIdentity
from iris_platform.local import take_census
from tests.platform.world import LocalWorld, local_world, name, spec

pytestmark = pytest.mark.contract


@pytest.fixture
def world(tmp_path: Path) -> Iterator[LocalWorld]:
    """A local cluster; nothing of it is left running."""
    with local_world(tmp_path) as made:
        yield made


def test_one_bad_record_does_not_keep_the_others(world: LocalWorld) -> None:
    platform = world.platform("task", zones=("local", "shed"))
    platform.create_slice(spec(), zone="local")
    platform.create_slice(spec(name(2)), zone="shed")
    (world.paths.local_root / name() / "slice.json").unlink()
    (world.paths.local_root / name() / "slice.json").mkdir()
    platform.delete_slice(name(2), zone="local")
    assert len(world.marked()) == 4
    for slice_ in (name(), name(2)):
        platform.delete_slice(slice_, zone="shed")
    assert (world.marked(), world.left_on_disk()) == ([], [])


def test_a_census_has_everything_under_the_root(world: LocalWorld) -> None:
    assert take_census(world.paths.local_root) == []
    other = ClusterIdentity("demo", "zzzzzzzzzz")
    theirs, gone, bad = name(cluster_id="zzzzzzzzzz"), name(2), name(3)
    world.platform(identity=other).create_slice(spec(identity=other))
    world.platform("task").create_slice(spec(gone))
    world.platform().create_slice(spec(bad, hosts=2))
    (world.paths.local_root / gone).rename(world.home / "aside")
    (world.paths.local_root / bad / "slice.json").write_text("{}")
    found = {entry.name: entry for entry in take_census(world.paths.local_root)}
    assert [found[n].cluster_id for n in (theirs, gone, bad)] == ["zzzzzzzzzz", "abcdefghij", "abcdefghij"]
    assert [found[n].zone for n in (theirs, gone, bad)] == ["local", None, None]
    assert [(found[n].hosts, found[n].running) for n in (theirs, gone, bad)] == [(1, 1), (1, 1), (2, 2)]
    assert found[theirs].trouble == ""
    assert found[gone].trouble.endswith("is gone, but not all of its processes")
    assert "name: expected a string" in found[bad].trouble
