"""Ports that nothing could listen on, or that two would."""

from __future__ import annotations

import pytest

from tests.config.samples import local_group, problems

HEAD = "controller: {local: {PORT}, advertise_address: 'ADDRESS'}\n"


def found(address: str, port: str = "") -> list[str]:
    return problems(HEAD.replace("ADDRESS", address).replace("PORT", port) + local_group())


@pytest.mark.parametrize("address", ["box:1", "box:65534", "[::1]:65534", "box"])
def test_ports_that_there_are(address: str) -> None:
    assert found(address) == []


@pytest.mark.parametrize("port", [0, 65535, 99999])
def test_the_next_port_has_to_be_there_too(port: int) -> None:
    assert found(f"box:{port}") == [
        (
            "demo.yaml:1:44: error: controller.advertise_address: expected a port from 1 to 65534"
            f" (the next one serves those that join), found {port}"
        )
    ]


@pytest.mark.parametrize("port", [700, 701])
def test_one_process_cannot_listen_twice(port: int) -> None:
    assert found("box:700", f"port: {port}") == [
        (
            "demo.yaml:1:28: error: controller.local.port: expected a port other than 700 and 701,"
            f" which advertise_address takes, found {port}"
        )
    ]
    assert found("box:702", f"port: {port}") == []
    assert found("box", f"port: {port}") == []


@pytest.mark.parametrize("name", ["tpu", "compute", "certificates"])
def test_an_endpoint_has_a_port_that_there_is(name: str) -> None:
    text = f"endpoints: {{{name}: 'http://cloud.example:PORT'}}\n{local_group()}"
    assert problems(text.replace("PORT", "65535")) == []
    (line,) = problems(text.replace("PORT", "65536"))
    assert line.endswith(f"error: endpoints.{name}: expected a port from 1 to 65535, found 65536")
