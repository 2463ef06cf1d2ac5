"""The token: every method of every service is behind it, and a new one cannot be forgotten."""

from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from google.protobuf.descriptor import MethodDescriptor
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from iris_controller.api.listen import bind
from iris_controller.shell.join import PortTaken
from iris_proto.v1 import controller_pb2, worker_pb2
from tests.controller.running import run
from tests.controller.serving import AUTH, TOKEN, serving

CONTROLLER: Any = controller_pb2.DESCRIPTOR.services_by_name["ControllerService"]
WORKER: Any = worker_pb2.DESCRIPTOR.services_by_name["WorkerService"]
HEALTH: Any = health_pb2.DESCRIPTOR.services_by_name["Health"]
REFLECTION: Any = reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"]
SERVICES = [CONTROLLER, WORKER, HEALTH, REFLECTION]
METHODS: list[MethodDescriptor] = [method for service in SERVICES for method in service.methods]
WRONG: dict[str, tuple[tuple[str, str], ...]] = {
    "no token": (),
    "another token": (("authorization", "Bearer another"),),
    "an empty token": (("authorization", "Bearer "),),
    "no scheme": (("authorization", TOKEN),),
    "a longer token": (("authorization", f"Bearer {TOKEN}x"),),
    "two tokens": (*AUTH, *AUTH),
    "another header": (("x-authorization", f"Bearer {TOKEN}"),),
}


async def outcome(channel: Any, method: MethodDescriptor, metadata: Any) -> grpc.StatusCode:
    """Calls any method with an empty message; a stream of requests with none.

    gRPC's client forgets the status of a call that ends while it is still writing.
    """
    path = f"/{method.containing_service.full_name}/{method.name}"
    try:
        match method.client_streaming, method.server_streaming:
            case False, False:
                await channel.unary_unary(path)(b"", metadata=metadata)
            case True, False:
                await channel.stream_unary(path)(metadata=metadata)
            case False, True:
                await channel.unary_stream(path)(b"", metadata=metadata).read()
            case _:
                await channel.stream_stream(path)(metadata=metadata).read()
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


@pytest.mark.parametrize("metadata", WRONG.values(), ids=WRONG)
def test_without_the_token_no_method_of_any_service_answers(tmp_path: Path, metadata: Any) -> None:
    async def test() -> None:
        async with serving(tmp_path) as it:
            for method in METHODS:
                code = await outcome(it.channel, method, metadata)
                assert (method.full_name, code.name) == (method.full_name, "UNAUTHENTICATED")
            assert (it.controller.view.jobs, it.controller.view.cluster.stopping) == ({}, None)

    run(test)


def test_with_the_token_every_unary_method_answers(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as it:
            for method in CONTROLLER.methods:
                if not method.client_streaming and not method.server_streaming:
                    code = await outcome(it.channel, method, AUTH)
                    # The last: a cluster that never leaves this machine has no certificates.
                    expected = ("OK", "NOT_FOUND", "INVALID_ARGUMENT", "FAILED_PRECONDITION")
                    assert code.name in expected, method.full_name

    run(test)


def test_nothing_is_served_that_is_not_tried_here(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as it:
            channel: Any = it.channel
            call: Any = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo
            request = reflection_pb2.ServerReflectionRequest(list_services="")
            (response,) = [one async for one in call(iter([request]), metadata=AUTH)]
            names = {service.name for service in response.list_services_response.service}
            assert names == {service.full_name for service in SERVICES}

    run(test)


def test_the_refusal_says_what_is_needed(tmp_path: Path) -> None:
    async def test() -> None:
        async with serving(tmp_path) as it:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await it.api.GetClusterStatus(controller_pb2.GetClusterStatusRequest())
            assert raised.value.details() == "this call needs the cluster's token (controller.json)"

    run(test)


def test_a_second_server_cannot_take_the_same_port(tmp_path: Path) -> None:
    async def test() -> None:
        (tmp_path / "first").mkdir()
        (tmp_path / "second").mkdir()
        async with serving(tmp_path / "first") as first, serving(tmp_path / "second") as second:
            port = int(first.address.rpartition(":")[2])
            with pytest.raises(PortTaken, match=rf"cannot listen on 127.0.0.1:{port}: in use\?"):
                bind(second.server, port)

    run(test)
