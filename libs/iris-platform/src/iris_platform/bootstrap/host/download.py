"""Gets a bundle over HTTPS, from whom the document's CA vouches for and nobody else."""

from __future__ import annotations

import hashlib
import http.client
import os
import select
import socket
import ssl
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from iris_platform.bootstrap.host.layout import Layout
from iris_platform.bootstrap.host.outcome import HOST_TROUBLE, REFUSED, UNREACHABLE, Failure

CONNECT_S = 10.0
TOTAL_S = 600.0
ATTEMPTS = 6
FIRST_PAUSE_S = 1.0
MOST_BYTES = 1 << 30
_PART = 1 << 18


def download(layout: Layout, bundle: Mapping[str, Any]) -> Path:
    """The bundle's file, whose digest is as the document says.

    Raises:
        Failure: it cannot be had, there is no room, or somebody else answers.
    """
    deadline = time.monotonic() + TOTAL_S
    target = layout.incoming / str(bundle["sha256"])
    pause_s, last = FIRST_PAUSE_S, "no attempt was made"
    for attempt in range(ATTEMPTS):
        if attempt:
            select.select([], [], [], min(pause_s, max(deadline - time.monotonic(), 0.0)))
            pause_s *= 2
        if time.monotonic() >= deadline:
            break
        try:
            _download_once(bundle, target, deadline)
            return target
        except ssl.SSLCertVerificationError as error:
            # Somebody else answers: trying again would not make him ours.
            words = f"{bundle['url']}: not the cluster's server: {error.verify_message}"
            raise Failure("bundle", words, REFUSED) from error
        except (OSError, http.client.HTTPException) as error:
            if getattr(error, "filename", None):
                raise Failure("bundle", f"{target}: {error}", HOST_TROUBLE) from error
            last = str(error) or type(error).__name__
    raise Failure("bundle", f"{bundle['url']}: cannot be fetched: {last}", UNREACHABLE)


def _download_once(bundle: Mapping[str, Any], target: Path, deadline: float) -> None:
    partial = target.with_name(f".{target.name}.part")
    try:
        with closing(_connect(bundle)) as connection:
            connection.request("GET", urlsplit(bundle["url"]).path or "/")
            # It holds the socket open by itself.
            with closing(connection.getresponse()) as response:
                _check_status(response.status, bundle["url"])
                digest = _copy(response, partial, deadline)
        if digest != bundle["sha256"]:
            # Cut short, as a rule: worth another attempt.
            raise ConnectionError(f"what came has the digest {digest}")
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def _check_status(status: int, url: str) -> None:
    if status >= 500 or status == http.client.TOO_MANY_REQUESTS:
        raise ConnectionError(f"HTTP status {status}")
    if status != http.client.OK:
        # It does not have this bundle; redirects are not followed either.
        raise Failure("bundle", f"{url}: HTTP status {status}", REFUSED)


def _copy(response: http.client.HTTPResponse, partial: Path, deadline: float) -> str:
    """Write what comes to a file; returns its digest."""
    sha = hashlib.sha256()
    size = 0
    with partial.open("wb") as file:
        while part := response.read(_PART):
            size += len(part)
            if size > MOST_BYTES or time.monotonic() > deadline:
                raise ConnectionError(f"{size} bytes came, and no end")
            sha.update(part)
            _write(file.fileno(), part, partial)
    return sha.hexdigest()


def _write(fd: int, part: bytes, path: Path) -> None:
    left = memoryview(part)
    try:
        while left:
            left = left[os.write(fd, left) :]
    except OSError as error:
        raise Failure("bundle", f"{path}: {error.strerror}: make room on the disk", HOST_TROUBLE) from error


def _connect(bundle: Mapping[str, Any]) -> http.client.HTTPSConnection:
    address = urlsplit(bundle["url"])
    if address.scheme != "https" or not address.hostname:
        raise Failure("bundle", f"{bundle['url']}: expected https://HOST:PORT/…", REFUSED)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(cadata=bundle["ca"])
    except (ssl.SSLError, ValueError) as error:
        raise Failure("bundle", f"the document's CA cannot be read: {error}", REFUSED) from error
    port = address.port or 443
    raw = socket.create_connection((address.hostname, port), timeout=CONNECT_S)
    try:
        # By name, whatever the address: a tunnel's is not the controller's.
        secured = context.wrap_socket(raw, server_hostname=bundle.get("server_name") or address.hostname)
    except BaseException:
        raw.close()
        raise
    connection = http.client.HTTPSConnection(address.hostname, port, timeout=CONNECT_S, context=context)
    connection.sock = secured
    return connection
