"""What there is to say where Google's libraries find no credentials, or none that can be used."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests
from google.auth.exceptions import DefaultCredentialsError, RefreshError, TransportError

from iris_platform.base import NoCredentials, PermissionMissing, PlatformError, Unreachable
from iris_platform.gcp.client import TpuApi
from iris_platform.gcp.compute import Compute
from iris_platform.gcp.credentials import AGAIN_S, Finder
from iris_platform.gcp.session import open_session

NOTHING = "Your default credentials were not found. To set up Application Default Credentials, see a page."
NAMED = "GOOGLE_APPLICATION_CREDENTIALS"


class Google:
    """Stands in for `google.auth.default` on a machine without any; counts."""

    def __init__(self, words: str = NOTHING) -> None:
        self.asked = 0
        self.words = words

    def __call__(self, **_: object) -> None:
        self.asked += 1
        raise DefaultCredentialsError(self.words)  # type: ignore[no-untyped-call]  # google-auth says no type


@pytest.fixture(autouse=True)
def _none_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(NAMED, raising=False)


def said(finder: Finder) -> str:
    with pytest.raises(NoCredentials) as caught:
        finder.find()
    return str(caught.value)


def test_without_any_it_says_what_makes_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("google.auth.default", Google())
    api = TpuApi("https://tpu.googleapis.com", "p")
    with pytest.raises(NoCredentials, match=r"gcloud auth application-default login") as caught:
        api.list_nodes("us-central1-a")
    assert "default credentials were not found" not in str(caught.value)
    with pytest.raises(NoCredentials):
        open_session("https://compute.googleapis.com")


def test_that_there_are_none_is_remembered_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look takes ten seconds, and every call of every zone would have its own."""
    google, now = Google(), [1000.0]
    monkeypatch.setattr("google.auth.default", google)
    finder = Finder(lambda: now[0])
    assert said(finder) == said(finder)
    assert google.asked == 1
    monkeypatch.setenv(NAMED, "/a/key.json")
    assert "cannot be used" in said(finder)
    monkeypatch.delenv(NAMED)
    now[0] += AGAIN_S
    said(finder)
    assert google.asked == 3


def test_what_is_wrong_with_those_of_gcloud(monkeypatch: pytest.MonkeyPatch) -> None:
    google = Google("File x is not a valid json file.")
    monkeypatch.setattr("google.auth.default", google)
    finder = Finder()
    assert said(finder).endswith("cannot be used: File x is not a valid json file.")
    said(finder)
    assert google.asked == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "Is a directory: "),
        ("garbage {", "is not a valid json file."),
        ("[1]", "cannot be used: AttributeError: "),
        ('{"type": "service_account"}', "Failed to load service account credentials from "),
        ('{"type": "nothing"}', "does not have a valid type"),
    ],
)
def test_key_files_that_hold_no_key(
    text: str | None, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "key.json"
    if text is None:
        path.mkdir()
    else:
        path.write_text(text)
    monkeypatch.setenv(NAMED, str(path))
    found = said(Finder())
    assert words in found
    # Google's errors carry others along, and print as tuples.
    assert "Error(" not in found and "((" not in found


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        # google-auth says no types of its errors.
        (RefreshError("invalid_grant: expired", {"error": "invalid_grant"}), PermissionMissing),  # type: ignore[no-untyped-call]
        (TransportError("nobody answers"), Unreachable),  # type: ignore[no-untyped-call]
    ],
)
def test_credentials_that_bring_no_token(
    error: Exception, kind: type[PlatformError], monkeypatch: pytest.MonkeyPatch
) -> None:
    def request(*_: object, **__: object) -> None:
        raise error

    with requests.Session() as session:
        monkeypatch.setattr(session, "request", request)
        with pytest.raises(kind, match=rf"no token for Compute Engine: {error.args[0]}$"):
            Compute("https://compute.googleapis.com", "p", session).get("z", "disks", "d")
