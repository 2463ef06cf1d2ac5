"""The credentials of whoever runs this, as Google's libraries find them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

import google.auth
from google.auth import environment_vars
from google.auth.credentials import Credentials
from google.auth.exceptions import GoogleAuthError

from iris_platform.base import NoCredentials
from iris_platform.gcp.machine import SCOPES

# To learn that this is no machine of Google's takes ten seconds.
AGAIN_S = 60.0
_NOTHING = "there are no Google Cloud credentials here (gcloud auth application-default login)"
# Otherwise Google's words are about a file that cannot be read.
_GOOGLES_NOTHING = "Your default credentials were not found"
# A key file may hold anything; Google's library reads it as if it held a key.
_BAD_FILE = (GoogleAuthError, OSError, ValueError, AttributeError, KeyError, TypeError)


class Finder:
    """Finds credentials. That there are none is remembered for `AGAIN_S`."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._lock = threading.Lock()
        self._nothing_until_s = 0.0

    def find(self) -> Credentials:
        """Standard default credentials.

        Raises:
            NoCredentials: there are none that can be used.
        """
        with self._lock:
            return self._find(os.environ.get(environment_vars.CREDENTIALS, ""))

    def _find(self, named: str) -> Credentials:
        if not named and self._now_s() < self._nothing_until_s:
            raise NoCredentials(_NOTHING)
        try:
            credentials, _ = google.auth.default(scopes=SCOPES)
        except _BAD_FILE as error:
            reason = words_of(error)
            if named or not reason.startswith(_GOOGLES_NOTHING):
                raise NoCredentials(f"the Google Cloud credentials here cannot be used: {reason}") from error
            self._nothing_until_s = self._now_s() + AGAIN_S
            raise NoCredentials(_NOTHING) from error
        return credentials


_FINDER = Finder()


def find_credentials() -> Credentials:
    """`Finder.find`, of one finder for the whole process.

    Raises:
        NoCredentials: there are none that can be used.
    """
    return _FINDER.find()


def words_of(error: Exception) -> str:
    """What is wrong with credentials: of Google's errors, which carry other errors along, their own words."""
    if isinstance(error, GoogleAuthError) and error.args:
        return str(error.args[0])
    return str(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
