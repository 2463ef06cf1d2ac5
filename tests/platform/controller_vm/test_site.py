"""Where a controller on another machine is: what the configuration says, and what is written down."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from iris_config import parse_config
from iris_platform.base import Refused
from iris_platform.controller_vm import Operator, Recipe, create_controller_vm
from iris_platform.controller_vm.remote import RemoteController
from iris_platform.controller_vm.site import (
    SITE_FILE,
    CloudMachine,
    Site,
    known_site,
    read_site,
    site_of,
    write_site,
)
from iris_platform.paths import ClusterPaths

CONFIG = """\
name: demo
controller: { manual: { host: box, %s } }
scale_groups: { boxes: { provider: { manual: { hosts: [a] } } } }
"""


@pytest.fixture
def paths(tmp_path: Path) -> ClusterPaths:
    return ClusterPaths(tmp_path / "state", tmp_path / "pki", tmp_path / "local")


def recipe(paths: ClusterPaths, more: str = "") -> Recipe:
    return Recipe(parse_config(CONFIG % more).proto, paths, lambda record: True, Operator("me"))


def test_defaults_do_not_overrule_the_users_own_settings() -> None:
    site = site_of(parse_config(CONFIG % "").proto)
    assert (site.host, site.port, site.user, site.ssh_port) == ("box", 10400, "", 0)
    site = site_of(parse_config(CONFIG % "ssh_user: me, ssh_port: 2222, port: 700").proto)
    assert (site.port, site.user, site.ssh_port) == (700, "me", 2222)
    assert site.state_dir == site.pki_dir == ""


def test_it_is_read_as_it_was_written(paths: ClusterPaths) -> None:
    assert read_site(paths) is None
    site = Site("::1", 10400, user="me", cluster_id="abcdefghij")
    write_site(paths, site)
    assert read_site(paths) == site
    assert site.place == "[::1]:10400"
    machine = CloudMachine("p", "z", "https://compute.example", "iris-a-controller", "17", is_private=True)
    write_site(paths, replace(site, machine=machine))
    assert read_site(paths) == replace(site, machine=machine)
    assert machine.proxy[:4] == ("gcloud", "compute", "start-iap-tunnel", "iris-a-controller")
    assert (paths.state_dir / SITE_FILE).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("text", ["", "[]", '{"host": "a"}', '{"host": "a", "port": 1, "more": 2}'])
def test_a_damaged_one_is_an_error(text: str, paths: ClusterPaths) -> None:
    paths.state_dir.mkdir()
    (paths.state_dir / SITE_FILE).write_text(text)
    with pytest.raises(Refused, match=r"site\.json: cannot be used: .*writes it again"):
        read_site(paths)


def test_a_cluster_that_was_started_on_another_host(paths: ClusterPaths) -> None:
    assert isinstance(create_controller_vm(recipe(paths)), RemoteController)
    write_site(paths, Site("box", 10400, cluster_id="abcdefghij"))
    assert isinstance(create_controller_vm(recipe(paths)), RemoteController)
    write_site(paths, Site("other", 10400))
    with pytest.raises(
        Refused, match="cluster demo was started with its controller on other, and not stopped"
    ):
        create_controller_vm(recipe(paths))


def test_a_host_that_never_answers(paths: ClusterPaths) -> None:
    """Nothing is changed here, and what was asked says why."""
    from iris_platform.base import Unreachable

    def refuse() -> None:
        raise Unreachable("box: no answer")

    site = replace(site_of(recipe(paths).config), cluster_id="abcdefghij")
    vm = RemoteController("demo", site, paths, Operator("me"), connect=refuse)  # type: ignore[arg-type]
    for call in (vm.status, vm.stop, vm.forget, vm.log_in, lambda: vm.start("{}")):
        with pytest.raises(Unreachable, match="box: no answer"):
            call()
    assert not paths.state_dir.exists() and not paths.pki_dir.exists()


def test_a_corrected_endpoint_counts_from_the_next_start_on(paths: ClusterPaths) -> None:
    text = """\
name: demo
controller: { gcp: { project_id: p-one, zone: us-west4-a } }
endpoints: { compute: "http://cloud:PORT" }
"""
    then, now = (parse_config(text.replace("PORT", str(port))).proto for port in (81, 82))
    made = CloudMachine("p-one", "us-west4-a", "http://cloud:81", "iris-abcdefghij-controller", "77")
    write_site(paths, replace(site_of(then), host="10.0.0.2", cluster_id="abcdefghij", machine=made))
    found = known_site(now, paths)
    assert (found.host, found.cluster_id) == ("10.0.0.2", "abcdefghij")
    assert found.machine == replace(made, endpoint="http://cloud:82")
