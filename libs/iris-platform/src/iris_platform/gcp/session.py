"""An HTTP session with the credentials of whoever runs this; imported only where Google is used."""

from __future__ import annotations

import requests
from google.auth.transport.requests import AuthorizedSession

from iris_platform.gcp.credentials import find_credentials


def open_session(endpoint: str) -> requests.Session:
    """A session for one thread at a time; without credentials to a test cloud, which is at `http://`.

    Raises:
        PermissionMissing: there are no credentials.
    """
    if endpoint.startswith("http://"):
        session = requests.Session()
        # Neither a proxy nor a password of this machine's is for it.
        session.trust_env = False
        return session
    return AuthorizedSession(find_credentials())  # type: ignore[no-untyped-call]  # google-auth says no type
