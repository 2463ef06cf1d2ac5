"""What keeps `iris-controller` from starting, said in one line; and its log lines."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from iris_controller.main import main
from iris_controller.parser import build_parser
from iris_controller.shell.logging import JsonFormatter
from iris_platform.state_lock import StateLock

CONFIG = '{"name": "demo", "scale_groups": {"tpus": {"provider": {"tpu": {}}, "zones": ["z"]}}}'


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def start(home: Path, config: str | None = CONFIG) -> int:
    if config is not None:
        (home / "config.json").write_text(config)
    places = {"--config": "config.json", "--state-dir": "state", "--pki-dir": "pki", "--local-root": "local"}
    return main([word for flag, name in places.items() for word in (flag, str(home / name))])


def test_a_configuration_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert start(tmp_path, config=None) == 2
    assert capsys.readouterr().err == (
        f"iris-controller: {tmp_path}/config.json: error: cannot read: No such file or directory\n"
    )


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ("{", "Expecting property name"),
        ("[]", "expected an object"),
        ("{}", "the configuration has no name"),
        ('{"name": "x", "bogus": 1}', 'has no field named "bogus"'),
        ('{"name": "x", "scale_groups": {"a": {}}}', "scale group a: no provider is set"),
        ('{"name": "x", "scale_groups": {"a": {"provider": {"local": {}}}}}', "local has no zone"),
    ],
)
def test_a_configuration_that_cannot_be_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], config: str, says: str
) -> None:
    assert start(tmp_path, config) == 2
    said = capsys.readouterr().err
    assert said.startswith("iris-controller: ") and says in said and said.count("\n") == 1


def test_a_root_that_local_slices_cannot_live_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "local").write_text("")
    config = '{"name": "x", "scale_groups": {"a": {"provider": {"local": {}}, "zones": ["z"]}}}'
    assert start(tmp_path, config) == 2
    assert capsys.readouterr().err == f"iris-controller: {tmp_path}/local: File exists\n"


def test_a_network_file_system(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("iris_platform.state_lock.read_mounts", lambda: "server:/x / nfs4 rw 0 0\n")
    assert start(tmp_path) == 2
    assert f"iris-controller: {tmp_path}/state: is on a network file system (nfs4)" in capsys.readouterr().err


def test_a_state_directory_that_another_controller_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with StateLock(tmp_path / "state"):
        assert start(tmp_path) == 2
    assert f"iris-controller: {tmp_path}/state" in capsys.readouterr().err


def test_a_key_that_is_open_to_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pki").mkdir()
    key = tmp_path / "pki" / "cluster.key"
    key.write_text("x" * 64)
    key.chmod(0o644)
    assert start(tmp_path) == 2
    assert "open to others" in capsys.readouterr().err


def test_the_help_says_what_the_exit_statuses_mean() -> None:
    text = build_parser("1.0").format_help()
    assert "0  ended by SIGTERM or SIGINT" in text and "--resume" in text


def test_a_log_line_is_one_json_object() -> None:
    record = logging.LogRecord("iris.x", logging.WARNING, "f", 1, "%d rows\nfailed", (3,), None)
    line = JsonFormatter().format(record)
    fields = json.loads(line)
    assert "\n" not in line and fields.pop("time").startswith("20")
    assert fields == {"level": "warning", "logger": "iris.x", "message": "3 rows\nfailed"}


def test_a_log_line_carries_its_traceback() -> None:
    try:
        raise KeyError("lost")
    except KeyError as error:
        exc_info = (KeyError, error, error.__traceback__)
    record = logging.LogRecord("x", logging.ERROR, "f", 1, "oops", (), exc_info)
    assert "KeyError: 'lost'" in json.loads(JsonFormatter().format(record))["trace"]
