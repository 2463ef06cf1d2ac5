"""A cluster with something at Google's, on a machine without credentials for it."""

from __future__ import annotations

import pytest

from iris_cli.credentials import needs_credentials
from iris_cli.doctor.checks import THIS_MACHINE, Check, Result
from iris_cli.doctor.google import examine_google
from iris_config import parse_config
from iris_platform.base import NoCredentials
from tests.cli.bench import CONFIG, Bench

TPUS = CONFIG.replace("demo\n", "demo\ncontroller: { advertise_address: 192.0.2.7 }\n") + (
    "  tpus:\n    provider: { tpu: { project_id: p } }\n    accelerator_type: v5e-16\n"
    "    zones: [us-central1-a, us-west4-a]\n    capacity: on_demand\n"
)
AT_GOOGLE = TPUS.replace("advertise_address: 192.0.2.7", "gcp: { project_id: p, zone: us-west4-a }").replace(
    "local: {} }", "local: {} }, host_resources: { cpu: 1 }"
)
NONE = "there are no Google Cloud credentials here"


@pytest.fixture
def poor(bench: Bench) -> Bench:
    """Without credentials, and with slices to be had at Google's."""
    bench.config.write_text(TPUS)
    return bench


def test_a_start_warns_and_a_stop_advises_what_can_work(poor: Bench) -> None:
    started = poor.start()
    assert started.status == 0, started.err
    assert NONE in started.err and NoCredentials.HELP in started.err
    stopped = poor.stop("-y")
    assert stopped.status == 6
    assert "zone local: 0 slices" in stopped.text and poor.pid() is None
    assert f"zones us-central1-a, us-west4-a: could not be listed: {NONE}" in stopped.text
    assert f"left in zones us-central1-a, us-west4-a: not known ({NONE}" in stopped.err
    # To stop it again alone could only fail again.
    *_, first, then, _ = stopped.err.splitlines()
    assert first == f"first {NoCredentials.HELP}" and then.startswith("to remove it: ")
    assert f"{stopped.text}{stopped.err}".count(NoCredentials.HELP) == 1


def test_a_controller_at_googles_is_not_started(bench: Bench) -> None:
    bench.config.write_text(AT_GOOGLE)
    done = bench.start()
    assert done.status == 1
    assert NONE in done.err and NoCredentials.HELP in done.err
    assert not bench.paths.state_dir.exists()


def test_the_doctor_says_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/")
    told: list[Check] = []
    (check,) = examine_google(parse_config(TPUS), told.append)
    assert told == [check]
    assert (check.subject, check.result) == (THIS_MACHINE, Result.FAILED)
    assert check.message.endswith("cannot be used: [Errno 21] Is a directory: '/'")
    assert check.fix == NoCredentials.HELP


@pytest.mark.parametrize(
    ("text", "needs"),
    [
        (CONFIG, False),
        (TPUS, True),
        (AT_GOOGLE, True),
        (AT_GOOGLE.partition("  tpus:")[0], True),
        (f"{TPUS}endpoints: {{ tpu: 'http://cloud:80' }}\n", False),
        (f"{AT_GOOGLE}endpoints: {{ tpu: 'http://cloud:80' }}\n", True),
    ],
)
def test_who_needs_them(text: str, needs: bool) -> None:
    assert needs_credentials(parse_config(text)) is needs
