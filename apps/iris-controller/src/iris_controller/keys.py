"""`iris-controller --keys-of NAME`: a cluster's keys, made where they stay, and what others need of them.

Run over SSH by `iris cluster start` and `iris cluster login`: who may read the
keys' directory may do everything with the cluster anyway.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import IO

from iris_platform.identity import CA_KEY_FILE, IdentityError
from iris_platform.pki.authority import ensure_authority, make_backup, restore_backup
from iris_platform.pki.certificates import CsrRefused
from iris_platform.pki.names import Person, Role
from iris_platform.pki.ssh_key import ensure_ssh_key
from iris_platform.store_key import make_store_key

# A request has about 400 bytes and a backup 1,600; what is longer is refused for its form.
MOST_BYTES = 65_536
REQUEST_END = b"-----END CERTIFICATE REQUEST-----\n"


class NoKeys(Exception):
    """Nothing was written to standard output; the message says why."""


def run(cluster: str, pki_dir: Path, operator: str, given: IO[bytes]) -> int:
    """Print one JSON object: the cluster's id, its authority, the SSH key's public half, the backup.

    With `operator`, a signing request in PEM comes on standard input, and the
    object has that operator's certificate too. A backup may follow the request:
    where there is no authority yet, it is that one.

    Raises:
        NoKeys: the keys cannot be made or read, or the request is wrong.
    """
    try:
        request, backup = _split(given.read(MOST_BYTES)) if operator else (b"", b"")
        if backup and not (pki_dir / CA_KEY_FILE).exists():
            restore_backup(cluster, pki_dir, backup)
        authority = ensure_authority(cluster, pki_dir, time.time())
        # In the backup from the first day.
        make_store_key(pki_dir, os.urandom)
        found = {
            "cluster_id": authority.identity.cluster_id,
            "ca": authority.ca_pem.decode("ascii"),
            "ssh_key": ensure_ssh_key(pki_dir),
            "backup": make_backup(cluster, pki_dir).decode("ascii"),
        }
        if operator:
            subject = Person(authority.identity.cluster_id, Role.OPERATOR, operator)
            chain = authority.sign_client(request, subject, time.time())
            found["certificate"] = chain.decode("ascii")
    except (IdentityError, CsrRefused, ValueError) as error:
        raise NoKeys(str(error)) from error
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


def _split(text: bytes) -> tuple[bytes, bytes]:
    """The request, and the backup behind it."""
    request, end, backup = text.partition(REQUEST_END)
    return request + end, backup
