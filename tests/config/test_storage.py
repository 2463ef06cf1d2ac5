"""Where a controller may keep what it knows."""

import pytest

from tests.config.samples import load, problems


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("state_dir: /data", "storage.state_dir: expected a path below /var/lib/iris, where the disk"),
        ("state_dir: /var/lib/iris", "found '/var/lib/iris'"),
        ("pki_dir: /var/lib/iris/../iris-pki-too/x", "found '/var/lib/iris-pki-too/x'"),
        ("pki_dir: /var/lib/iris/demo", "storage.pki_dir: expected a path below /var/lib/iris-pki,"),
    ],
)
def test_on_a_machine_of_gcp_storage_is_on_the_disk_that_outlives_it(storage: str, message: str) -> None:
    text = "name: demo\n{}storage: {{ {} }}\n"
    gcp = "controller: { gcp: { project_id: my-project, zone: europe-west4-b } }\n"
    (found,) = problems(text.format(gcp, storage))
    assert message in found
    load(text.format("", storage))
    load(text.format(gcp, "state_dir: /var/lib/iris/a/b, pki_dir: /var/lib/iris-pki/mine"))
