"""A stop looks where the last start was told to look; where the file says something else now, it says so."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from iris_cli.locate import Cluster
from iris_cli.teardown.look import Blind, look_at
from iris_cli.teardown.proof import left_lines, left_over
from iris_cli.teardown.scope import Place, open_sites, read_scope
from iris_config import parse_config
from iris_platform import ClusterPaths, Platform
from iris_platform.base import ClusterIdentity, NoCredentials, PlatformError, Unreachable

CONFIG = """\
name: demo
controller: { advertise_address: 192.0.2.7 }
endpoints: { tpu: "http://cloud:PORT" }
scale_groups:
  here: { provider: { local: {} } }
  tpus:
    provider: { tpu: { project_id: p } }
    accelerator_type: v5e-16
    zones: [us-west4-a]
"""
THEN, NOW = (CONFIG.replace("PORT", str(port)) for port in (81, 82))


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    paths = ClusterPaths(tmp_path / "state", tmp_path / "pki", tmp_path / "local")
    paths.state_dir.mkdir()
    paths.config_file.write_text(parse_config(THEN).to_json())
    file = tmp_path / "demo.yaml"
    file.write_text(NOW)
    return Cluster("demo", paths, file, option="--cluster demo ")


def test_what_the_last_start_made_is_not_where_the_file_says_now(cluster: Cluster) -> None:
    scope = read_scope(cluster)
    assert scope.endpoints is not None and scope.endpoints.tpu == "http://cloud:81"
    words = "take over what the configuration says now (tpu http://cloud:82, not http://cloud:81): "
    assert scope.moved == f"{words}iris --cluster demo cluster start"
    sites = open_sites(scope, ClusterIdentity("demo", "abcdefghij"), cluster)
    assert {site.provider: site.helps for site in sites} == {"local": "", "tpu": scope.moved}


def test_a_file_that_is_as_it_was(cluster: Cluster) -> None:
    assert cluster.config_path is not None
    cluster.config_path.write_text(THEN)
    assert read_scope(cluster).moved == ""


@pytest.mark.parametrize(
    ("error", "first"), [(Unreachable("nobody"), "this"), (NoCredentials("none"), NoCredentials.HELP)]
)
def test_what_helps_comes_before_another_stop(error: PlatformError, first: str) -> None:
    class Blinded:
        def list_slices(self, labels: object, zone: str) -> None:
            raise error

    site = Place("a", "tpu", cast(Platform, Blinded()), helps="this")
    looks = look_at([site], ["a"])
    assert isinstance(looks[0], Blind)
    assert left_lines(left_over(looks, {}), "iris cluster stop", looks) == (
        f"left in zone a: not known ({error})",
        f"first {first}",
        "to remove it: iris cluster stop",
    )
