"""The TLS port: every method of every service, for everybody who may not call it."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.text_format import Parse
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from iris_controller.api.auth import ROLES
from iris_controller.core.values import Place
from iris_controller.shell.secure import SecurePorts, joining_of, ports_of
from iris_platform.credentials import Credentials, open_aio_channel
from iris_platform.manual.forwards import ports_on_hosts
from iris_platform.pki import certificates
from iris_platform.pki.names import Person, Role, Subject, server_name
from iris_proto.v1 import config_pb2, controller_pb2
from tests.controller.running import run
from tests.controller.secured import (
    AUTHORITY,
    DAY_S,
    OPERATOR,
    USER,
    Secured,
    credentials,
    make_authority,
    secured,
    worker,
)
from tests.controller.serving import AUTH
from tests.controller.test_auth import METHODS, outcome
from tests.controller.worlds import CLUSTER_ID

SOMEWHERE = Place("iris-nowhere-1-1", 0)
SUBJECTS: dict[Role, Subject] = {Role.OPERATOR: OPERATOR, Role.USER: USER, Role.WORKER: worker(SOMEWHERE)}


def path_of(method: MethodDescriptor) -> str:
    return f"/{method.containing_service.full_name}/{method.name}"


def no_roles() -> Iterator[tuple[str, Role]]:
    for method in METHODS:
        for role in Role:
            if role not in ROLES[path_of(method)]:
                yield path_of(method), role


def test_the_table_has_every_method_that_is_served_and_no_other() -> None:
    assert {path_of(method) for method in METHODS} == set(ROLES)


def test_the_table_says_who_may_do_what() -> None:
    """Written twice, so that a change of it is meant."""
    refused = sorted(f"{path.rsplit('.', 1)[1]} {role.value}" for path, role in no_roles())
    agents_only = ["Session", "ShipLogs"]
    people_only = sorted({p.rsplit("/", 1)[1] for p in ROLES} - {*agents_only, "Check", "List", "Watch"})
    wanted = [f"WorkerService/{name} {role}" for name in agents_only for role in ("operator", "user")]
    wanted += [
        f"{'ServerReflection' if name == 'ServerReflectionInfo' else 'ControllerService'}/{name} worker"
        for name in people_only
    ]
    assert refused == sorted([*wanted, "ControllerService/BeginShutdown user"])


def test_a_wrong_role_is_refused_everywhere(tmp_path: Path) -> None:
    async def test() -> None:
        async with secured(tmp_path) as it:
            callers = {role: it.caller(subject) for role, subject in SUBJECTS.items()}
            methods = {path_of(method): method for method in METHODS}
            tried = 0
            for path, role in no_roles():
                code = await outcome(callers[role].channel, methods[path], ())
                assert (path, role, code.name) == (path, role, "PERMISSION_DENIED")
                tried += 1
            assert tried > 20
            assert (it.controller.view.jobs, it.controller.view.cluster.stopping) == ({}, None)

    run(test)


def test_a_right_role_is_let_in_everywhere(tmp_path: Path) -> None:
    async def test() -> None:
        async with secured(tmp_path) as it:
            callers = {role: it.caller(subject) for role, subject in SUBJECTS.items()}
            for method in METHODS:
                if method.client_streaming or method.name in ("Watch", "WatchEvents", "BeginShutdown"):
                    continue  # would wait for us, would not end by itself, would end the cluster
                for role in ROLES[path_of(method)]:
                    code = await outcome(callers[role].channel, method, ())
                    assert code.name not in ("PERMISSION_DENIED", "UNAUTHENTICATED"), (method.name, role)
            watching: Any = callers[Role.WORKER].channel
            watch = watching.unary_stream("/grpc.health.v1.Health/Watch")(b"")
            assert await watch.read() == b"\x08\x01"  # SERVING
            channel: Any = callers[Role.USER].channel
            call: Any = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo
            wanted = reflection_pb2.ServerReflectionRequest(list_services="")
            assert [len(one.list_services_response.service) async for one in call(iter([wanted]))] == [4]

    run(test)


def strangers(it: Secured) -> dict[str, grpc.aio.Channel]:
    """Everybody who holds no certificate of this cluster, or not any more."""
    other = make_authority("zzzzzzzzzz")
    same_name = make_authority(CLUSTER_ID)
    week_ago = time.time() - 8 * DAY_S
    found: dict[str, Credentials] = {
        "another cluster": credentials(Person("zzzzzzzzzz", Role.OPERATOR, "eve"), by=other),
        "another authority": credentials(OPERATOR, by=same_name),
        "expired": credentials(OPERATOR, at_s=week_ago),
        "not yet": credentials(OPERATOR, at_s=time.time() + 2 * DAY_S),
        "somebody's certificate without the key": Credentials(
            AUTHORITY.ca_pem,
            credentials(OPERATOR).certificate,
            certificates.key_to_pem(certificates.make_key()),
        ),
        "self-signed": _self_signed(),
        "the controller's own": _servers(),
    }
    name, options = server_name(CLUSTER_ID), (("grpc.enable_retries", 0),)
    channels = {who: open_aio_channel(given, it.tls_address, name, options) for who, given in found.items()}
    root = grpc.ssl_channel_credentials(AUTHORITY.ca_pem)
    named = [("grpc.ssl_target_name_override", name)]
    channels["no certificate"] = grpc.aio.secure_channel(it.tls_address, root, options=named)
    channels["no TLS"] = grpc.aio.insecure_channel(it.tls_address)
    return channels


def _self_signed() -> Credentials:
    key = certificates.make_key()
    own = certificates.sign_ca(key, CLUSTER_ID, time.time())
    pem = certificates.sign_client((key, own), key.public_key(), OPERATOR, time.time())
    return Credentials(AUTHORITY.ca_pem, pem.public_bytes(Encoding.PEM), certificates.key_to_pem(key))


def _servers() -> Credentials:
    key, pem = AUTHORITY.make_server(time.time())
    return Credentials(AUTHORITY.ca_pem, pem, key)


def test_without_a_certificate_of_this_cluster_no_method_answers(tmp_path: Path) -> None:
    async def test() -> None:
        async with secured(tmp_path) as it:
            for who, channel in strangers(it).items():
                for method in METHODS:
                    # With the token of loopback, which is worth nothing here.
                    code = await outcome(channel, method, AUTH)
                    assert (who, method.full_name, code.name) == (who, method.full_name, "UNAVAILABLE")
                await channel.close()
            assert (it.controller.view.jobs, it.controller.view.cluster.stopping) == ({}, None)
            await it.caller(OPERATOR).api.GetClusterStatus(controller_pb2.GetClusterStatusRequest())

    run(test)


def test_a_client_refuses_another_controller(tmp_path: Path) -> None:
    async def test() -> None:
        async with secured(tmp_path) as it:
            given = credentials(OPERATOR)
            imposter = Credentials(make_authority().ca_pem, given.certificate, given.key)
            for shown, name in (
                (imposter, server_name(CLUSTER_ID)),
                (given, server_name("zzzzzzzzzz")),
            ):
                channel = open_aio_channel(shown, it.tls_address, name)
                assert (await outcome(channel, METHODS[0], ())).name == "UNAVAILABLE"
                await channel.close()

    run(test)


def test_a_certificate_that_ends_while_it_is_connected_is_refused_from_then_on(tmp_path: Path) -> None:
    async def test() -> None:
        async with secured(tmp_path) as it:
            nearly = it.caller(credentials(OPERATOR, at_s=time.time() - 7 * DAY_S + 3))
            request = controller_pb2.GetClusterStatusRequest()
            await nearly.api.GetClusterStatus(request)
            refusal = None
            while refusal is None:
                try:
                    await nearly.api.GetClusterStatus(request)
                except grpc.aio.AioRpcError as error:
                    refusal = error
            assert refusal.code() is grpc.StatusCode.UNAUTHENTICATED
            assert refusal.details() == "the certificate is over; get another: iris cluster login"

    run(test)


def test_the_refusal_of_a_role_says_whose_and_for_whom(tmp_path: Path) -> None:
    async def test() -> None:
        async with secured(tmp_path) as it:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await it.caller(USER).api.BeginShutdown(controller_pb2.BeginShutdownRequest())
            assert raised.value.details() == "this call is for operator; the certificate is of user bob"

    run(test)


# IssueCertificate.

ISSUED = [
    (OPERATOR, "OPERATOR", "eve", Person(CLUSTER_ID, Role.OPERATOR, "eve")),
    (OPERATOR, "USER", "bob", USER),
    (OPERATOR, "UNSPECIFIED", "", OPERATOR),
    (USER, "UNSPECIFIED", "", USER),
    (USER, "USER", "bob", USER),
    (USER, "USER", "ada", None),
    (USER, "OPERATOR", "bob", None),
    (USER, "OPERATOR", "", None),
]


@pytest.mark.parametrize(("who", "role", "name", "wanted"), ISSUED)
def test_who_is_given_which_certificate(
    tmp_path: Path, who: Person, role: str, name: str, wanted: Person | None
) -> None:
    async def test() -> None:
        async with secured(tmp_path) as it:
            key = certificates.make_key()
            request = controller_pb2.IssueCertificateRequest(
                csr=certificates.make_csr(key),
                role=controller_pb2.CertificateRole.Value(f"CERTIFICATE_ROLE_{role}"),
                name=name,
            )
            caller = it.caller(who)
            if wanted is None:
                with pytest.raises(grpc.aio.AioRpcError) as raised:
                    await caller.api.IssueCertificate(request)
                assert raised.value.code() is grpc.StatusCode.PERMISSION_DENIED
                assert (
                    raised.value.details() == "user bob may renew its own certificate only; ask an operator"
                )
                return
            answer = await caller.api.IssueCertificate(request)
            facts = certificates.read_facts(certificates.certificate_from_pem(answer.certificate_chain))
            assert facts.subject == wanted
            assert (answer.ca, answer.cluster_id) == (AUTHORITY.ca_pem, CLUSTER_ID)
            assert answer.expires_at.seconds == facts.not_after_s
            issued = Credentials(answer.ca, answer.certificate_chain, certificates.key_to_pem(key))
            await it.caller(issued).api.GetClusterStatus(controller_pb2.GetClusterStatusRequest())

    run(test)


def test_the_first_operator_gets_a_certificate_over_loopback(tmp_path: Path) -> None:
    """Whoever can read the token on the controller's host: over SSH, `cluster start` does."""

    async def test() -> None:
        async with secured(tmp_path) as it:
            key = certificates.make_key()
            request = controller_pb2.IssueCertificateRequest(csr=certificates.make_csr(key), name="ada")
            answer = await it.api.IssueCertificate(request, metadata=AUTH)
            issued = Credentials(answer.ca, answer.certificate_chain, certificates.key_to_pem(key))
            facts = certificates.read_facts(certificates.certificate_from_pem(issued.certificate))
            assert facts.subject == OPERATOR
            await it.caller(issued).api.GetClusterStatus(controller_pb2.GetClusterStatusRequest())

    run(test)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"csr": b""}, "PKCS #10"),
        ({"name": "a b"}, "name: expected"),
        ({"name": "../x"}, "name: expected"),
        ({"role": 9}, "role: expected"),
    ],
)
def test_a_request_for_a_certificate_that_is_wrong(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    async def test() -> None:
        async with secured(tmp_path) as it:
            fields: dict[str, Any] = {"csr": certificates.make_csr(certificates.make_key()), "name": "x"}
            request = controller_pb2.IssueCertificateRequest(**(fields | change))
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await it.caller(OPERATOR).api.IssueCertificate(request)
            assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert says in str(raised.value.details())

    run(test)


# Which clusters have such ports.


def ports(text: str) -> tuple[int, int] | None:
    found = ports_of(Parse(text, config_pb2.IrisClusterConfig()))
    return None if found is None else (found.grpc, found.join)


LOCAL = 'scale_groups { key: "a" value { provider { local {} } } }'
# The same whenever and wherever the controller starts.
THERE = ports_on_hosts(CLUSTER_ID)
MANUAL = 'scale_groups { key: "m" value { provider { manual {} } } }'


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ("", None),
        (LOCAL, None),
        (LOCAL + "controller { local {} }", None),
        (LOCAL + MANUAL, (0, 0)),
        (MANUAL + 'controller { local {} advertise_address: "host" }', (10400, 10401)),
        (MANUAL + 'controller { local {} advertise_address: "host:700" }', (700, 701)),
        (MANUAL + 'controller { local {} advertise_address: "[::1]" }', (10400, 10401)),
        (LOCAL + "controller { manual { port: 10400 } }", (10400, 10401)),
        (LOCAL + "controller { gcp { port: 5 } }", (5, 6)),
    ],
    ids=range(9),
)
def test_which_clusters_listen_for_others(config: str, wanted: tuple[int, int] | None) -> None:
    assert ports(config) == wanted


@pytest.mark.parametrize(
    ("controller", "address", "join_url"),
    [
        ("", f"127.0.0.1:{THERE[0]}", f"https://127.0.0.1:{THERE[1]}"),
        ('advertise_address: "host:700"', "host:700", "https://host:701"),
        ('advertise_address: "[fd00::1]"', "[fd00::1]:10400", "https://[fd00::1]:10401"),
        ('manual { host: "box" port: 700 }', "box:700", "https://box:701"),
        ('manual { host: "fd00::1" port: 700 }', "[fd00::1]:700", "https://[fd00::1]:701"),
        ('manual { host: "box" port: 700 } advertise_address: "out"', "out:700", "https://out:701"),
    ],
)
def test_where_agents_dial(controller: str, address: str, join_url: str, tmp_path: Path) -> None:
    config = Parse(MANUAL + f"controller {{ {controller or 'local {}'} }}", config_pb2.IrisClusterConfig())
    joining = joining_of(config, SecurePorts(AUTHORITY, tmp_path / "bundles"), tmp_path / "bundles")
    assert joining is not None
    assert (joining.address, joining.join_url) == (address, join_url)
    assert joining.forwarded == (None if controller else THERE)
