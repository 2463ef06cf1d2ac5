"""What machines that nobody has looked at are given."""

import json
from pathlib import Path

import pytest

from iris_config import IrisConfig
from iris_platform.base import Refused
from iris_platform.bootstrap import BundleSource
from iris_platform.bundle import Bundle
from iris_platform.controller_vm.create import kinds_of
from iris_platform.joining import CLOUD_KINDS, Joining, bundles_for_any


def joining(missing: tuple[str, ...] = ()) -> Joining:
    def bundle_for(python: str, machine: str) -> Bundle:
        if python in missing:
            raise Refused(f"no wheel for Python {python}")
        sha256 = f"{python[2:]:0>64}"
        return Bundle(sha256, Path(sha256), {})

    return Joining(
        cluster="demo",
        address="10.0.0.1:1000",
        join_url="https://10.0.0.1:1001",
        ca_pem="PEM",
        mint=lambda name, index: "",
        bundle_for=bundle_for,
    )


def test_there_is_one_for_every_python() -> None:
    assert bundles_for_any(joining(), "abcdefghij") == BundleSource(
        url="https://10.0.0.1:1001/bundle/",
        ca="PEM",
        server_name="controller.abcdefghij.iris",
        kinds={f"3.{minor} x86_64": f"{minor:0>64}" for minor in (10, 11, 12, 13)},
    )


def test_one_that_cannot_be_made_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    made = bundles_for_any(joining(missing=("3.13",)), "abcdefghij")
    assert list(made.kinds) == ["3.10 x86_64", "3.11 x86_64", "3.12 x86_64"]
    assert "machines with Python 3.13 on x86_64 will not start: no wheel" in caplog.text


def test_none_that_can_be_made_is_an_error() -> None:
    with pytest.raises(Refused, match=r"no wheel for Python 3\.13"):
        bundles_for_any(joining(missing=("3.10", "3.11", "3.12", "3.13")), "abcdefghij")


def test_a_controller_elsewhere_is_brought_what_its_machines_may_need() -> None:
    tpu = {
        "provider": {"tpu": {"project_id": "p"}},
        "accelerator_type": "v5litepod-16",
        "zones": ["europe-west4-b"],
    }
    here = {"provider": {"local": {}}, "accelerator_type": "cpu"}
    for groups, kinds in (({"a": tpu, "b": here}, CLOUD_KINDS), ({"b": here}, ())):
        assert (
            kinds_of(IrisConfig.from_json(json.dumps({"name": "demo", "scale_groups": groups})).proto)
            == kinds
        )
