"""Which cluster a command means: options, environment, records, files."""

from __future__ import annotations

import json
import threading
from argparse import Namespace
from pathlib import Path

import pytest

from iris_cli.exits import CliError
from iris_cli.locate import find_cluster, find_config
from iris_cli.records import Record, read_records, records_file, remember

CONFIG = "name: {name}\nscale_groups: {{ here: {{ provider: {{ local: {{}} }} }} }}\n"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("IRIS_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def options(config: str | None = None, cluster: str | None = None) -> Namespace:
    return Namespace(config=config, cluster=cluster, verbose=0)


def write(path: Path, name: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(CONFIG.format(name=name))


def record(name: str, config: Path, state_dir: str = "/s") -> Record:
    return Record(name, str(config), state_dir, "/k", ("local",))


def test_the_order_of_places(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(home / "a.yaml", "a")
    write(home / "b.yaml", "b")
    write(home / "config" / "iris" / "clusters" / "c.yaml", "c")
    remember(record("last", home / "a.yaml"))
    assert (found := find_cluster(options())).name == "last" and not found.named
    monkeypatch.setenv("IRIS_CONFIG", "b.yaml")
    assert (found := find_cluster(options())).name == "b" and found.named
    assert find_cluster(options(config="a.yaml")).name == "a"
    assert find_cluster(options(cluster="b")).name == "b"
    assert find_cluster(options(cluster="c")).name == "c"
    assert find_config(options(cluster="c")) == home / "config" / "iris" / "clusters" / "c.yaml"
    assert find_config(options()) == Path("b.yaml")


def test_what_was_started_is_found_where_it_was_started(home: Path) -> None:
    write(home / "a.yaml", "a")
    remember(record("a", home / "a.yaml", "/elsewhere"))
    remember(record("b", home / "gone.yaml", "/other"))
    for found in (find_cluster(options(config="a.yaml")), find_cluster(options(cluster="a"))):
        assert found.paths.state_dir == Path("/elsewhere")
        assert found.zones == ("local",)
    assert find_cluster(options()).name == "b"


def test_a_file_that_broke_since_still_means_its_cluster(home: Path) -> None:
    (home / "a.yaml").write_text("name: [")
    with pytest.raises(CliError, match="cannot be used"):
        find_cluster(options(config="a.yaml"))
    remember(record("a", home / "a.yaml"))
    assert find_cluster(options(config="a.yaml")).name == "a"


def test_hints_name_the_cluster_as_it_was_named(home: Path) -> None:
    write(home / "my file.yaml", "a")
    assert find_cluster(options(config="my file.yaml")).command("job list") == (
        "iris --config 'my file.yaml' job list"
    )
    remember(record("a", home / "my file.yaml"))
    assert find_cluster(options()).command("job list") == "iris job list"


def test_a_state_directory_of_that_name_will_do(home: Path) -> None:
    (home / "state" / "iris" / "old").mkdir(parents=True)
    assert find_cluster(options(cluster="old")).paths.state_dir == home / "state" / "iris" / "old"
    for name in ("older", "", "..", "old/", "../iris/old"):
        with pytest.raises(CliError):
            find_cluster(options(cluster=name))


def test_records_are_private_and_survive_each_other(home: Path) -> None:
    names = [f"c{number}" for number in range(8)]
    threads = [threading.Thread(target=remember, args=(record(name, home / name),)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(read_records().clusters) == names
    assert records_file().stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"clusters": {"a": {}}}', '{"clusters": []}'])
def test_damaged_records_are_named(text: str) -> None:
    records_file().parent.mkdir(parents=True)
    records_file().write_text(text)
    with pytest.raises(CliError, match=r"clusters\.json: cannot read which clusters were started"):
        read_records()


def test_a_last_cluster_without_a_record_is_none(home: Path) -> None:
    remember(record("a", home / "a.yaml"))
    value = json.loads(records_file().read_text())
    records_file().write_text(json.dumps({**value, "last": "b"}))
    assert read_records().last is None
