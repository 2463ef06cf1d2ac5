"""An HTTP session with the credentials of whoever runs this; imported only where Google is used."""

from __future__ import annotations

import google.auth
import google.auth.exceptions
import requests
from google.auth.transport.requests import AuthorizedSession

from iris_platform.base import PermissionMissing
from iris_platform.gcp.machine import SCOPES


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
    try:
        credentials, _ = google.auth.default(scopes=SCOPES)
    except google.auth.exceptions.DefaultCredentialsError as error:
        raise PermissionMissing(
            "there are no Google Cloud credentials here: run `gcloud auth application-default login`,"
            " or name a key file in GOOGLE_APPLICATION_CREDENTIALS"
        ) from error
    return AuthorizedSession(credentials)  # type: ignore[no-untyped-call]  # google-auth says no type
