"""What a host knows of itself (B36)."""

import json
from pathlib import Path
from types import MappingProxyType

import pytest

from iris_platform.env_probe import Environment, ProbeError, probe, write_environment

ENVIRONMENT = Environment(
    cluster="demo",
    cluster_id="abcdefghij",
    slice_name="iris-abcdefghij-here-1700000000000-1",
    worker_index=3,
    group="here",
    zone="local",
    accelerator_type="cpu",
    cpu_millis=1500,
    memory_bytes=0,
    labels=MappingProxyType({"iris-group": "here"}),
    controller_file=Path("/state/controller.json"),
    address="10.0.0.7",
)


def test_what_a_platform_writes_is_what_an_agent_reads(tmp_path: Path) -> None:
    write_environment(tmp_path, ENVIRONMENT)
    assert probe(tmp_path) == ENVIRONMENT
    assert (tmp_path / "host.json").stat().st_mode & 0o777 == 0o600


def test_fields_of_a_later_release_do_not_matter(tmp_path: Path) -> None:
    write_environment(tmp_path, ENVIRONMENT)
    path = tmp_path / "host.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "colour": "red"}))
    assert probe(tmp_path) == ENVIRONMENT


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("worker_index", None, "expected a whole number, at least 0, found null"),
        ("worker_index", -1, "expected a whole number, at least 0, found -1"),
        ("worker_index", "0", 'expected a whole number, at least 0, found "0"'),
        ("worker_index", True, "expected a whole number, at least 0, found true"),
        ("cpu_millis", 0, "expected a whole number, at least 1, found 0"),
        ("memory_bytes", 1.5, "expected a whole number, at least 0, found 1.5"),
        ("cluster_id", "", 'expected a non-empty string, found ""'),
        ("zone", 5, "expected a non-empty string, found 5"),
        ("labels", [], r"expected an object of strings, found \[\]"),
        ("labels", {"a": 1}, 'expected an object of strings, found {"a": 1}'),
    ],
)
def test_fields_that_are_wrong(tmp_path: Path, field: str, value: object, message: str) -> None:
    write_environment(tmp_path, ENVIRONMENT)
    path = tmp_path / "host.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(ProbeError, match=f"^{path}: {field}: {message}$"):
        probe(tmp_path)


@pytest.mark.parametrize("field", [name for name in vars(ENVIRONMENT) if name != "tpu"])
def test_every_field_is_needed(tmp_path: Path, field: str) -> None:
    write_environment(tmp_path, ENVIRONMENT)
    path = tmp_path / "host.json"
    value = json.loads(path.read_text())
    del value[field]
    path.write_text(json.dumps(value))
    with pytest.raises(ProbeError, match=f"^{path}: {field}: expected .*, found nothing$"):
        probe(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"), [("", "not valid JSON"), ("[]", "expected an object"), ("\xff", "not valid JSON")]
)
def test_files_that_are_not_one(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "host.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ProbeError, match=message):
        probe(tmp_path)


def test_no_file_at_all(tmp_path: Path) -> None:
    with pytest.raises(ProbeError, match=r"host\.json: cannot read: No such file"):
        probe(tmp_path)
