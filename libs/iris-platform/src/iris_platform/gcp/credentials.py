"""The credentials of whoever runs this, as Google's libraries find them."""

from __future__ import annotations

import google.auth
from google.auth.credentials import Credentials
from google.auth.exceptions import GoogleAuthError

from iris_platform.base import PermissionMissing
from iris_platform.gcp.machine import SCOPES


def find_credentials() -> Credentials:
    """Standard default credentials.

    Raises:
        PermissionMissing: there are none; says what to do.
    """
    try:
        credentials, _ = google.auth.default(scopes=SCOPES)
    except GoogleAuthError as error:
        raise PermissionMissing(
            "there are no Google Cloud credentials here: run `gcloud auth application-default login`,"
            " name a key file in GOOGLE_APPLICATION_CREDENTIALS, or run this on a machine that has a"
            f" service account ({error})"
        ) from error
    return credentials
