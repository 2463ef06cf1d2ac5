"""Where hosts dial the controller."""

from __future__ import annotations

import pytest
from google.protobuf.text_format import Parse

from iris_config.endpoint import Endpoint, advertised, endpoint_of
from iris_proto.v1.config_pb2 import ControllerConfig


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("10.0.0.1", "10.0.0.1", 10400),
        ("box.example:7000", "box.example", 7000),
        ("[fd00::1]:7000", "fd00::1", 7000),
        ("[fd00::1]", "fd00::1", 10400),
        ("fd00::1", "fd00::1", 10400),
    ],
)
def test_an_advertised_address(text: str, host: str, port: int) -> None:
    assert endpoint_of(text) == Endpoint(host, port)


def test_its_two_ports() -> None:
    endpoint = Endpoint("fd00::1", 700)
    assert endpoint.ports == (700, 701)
    assert (str(endpoint), str(endpoint.joining)) == ("[fd00::1]:700", "[fd00::1]:701")
    assert str(Endpoint("box", 700)) == "box:700"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("local {}", ""),
        ('local {} advertise_address: "box"', "box:10400"),
        ('local {} advertise_address: "box:700"', "box:700"),
        ('manual { host: "box" port: 700 }', "box:700"),
        ('manual { host: "box" port: 700 } advertise_address: "out:900"', "out:700"),
        ("gcp { port: 700 }", ""),
        ('gcp { port: 700 } advertise_address: "out"', "out:700"),
    ],
)
def test_where_a_controller_is_dialled(text: str, found: str) -> None:
    assert str(advertised(Parse(text, ControllerConfig())) or "") == found
