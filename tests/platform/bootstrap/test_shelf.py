"""Bundles that were brought: what a controller without pip has for its hosts."""

import json
from pathlib import Path

import pytest

from iris_platform.base import Refused
from iris_platform.bundle import KINDS_FILE, PROGRAMS, Bundle, Shelf, kind_of


def shelf(directory: Path, **kinds: str) -> Shelf:
    directory.mkdir(exist_ok=True)
    (directory / KINDS_FILE).write_text(json.dumps(kinds))
    return Shelf(directory)


def test_what_was_brought_is_taken(tmp_path: Path, bundle: Bundle) -> None:
    (tmp_path / bundle.sha256).write_bytes(bundle.path.read_bytes())
    found = shelf(tmp_path, **{kind_of("3.11", "x86_64"): bundle.sha256}).bundle_for("3.11", "x86_64")
    assert (found.sha256, found.path) == (bundle.sha256, tmp_path / bundle.sha256)


def test_a_kind_that_nobody_brought(tmp_path: Path) -> None:
    words = r"packed for Python 3\.12 on x86_64: no bundle was brought .* `iris cluster start` once more"
    with pytest.raises(Refused, match=words):
        shelf(tmp_path).bundle_for("3.12", "x86_64")


def test_one_that_comes_later_is_found(tmp_path: Path, bundle: Bundle) -> None:
    found = shelf(tmp_path)
    with pytest.raises(Refused):
        found.bundle_for("3.11", "x86_64")
    (tmp_path / bundle.sha256).write_bytes(bundle.path.read_bytes())
    (tmp_path / KINDS_FILE).write_text(json.dumps({"3.11 x86_64": bundle.sha256}))
    assert found.bundle_for("3.11", "x86_64").sha256 == bundle.sha256


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_a_list_that_cannot_be_read(text: str, tmp_path: Path) -> None:
    (tmp_path / KINDS_FILE).write_text(text)
    with pytest.raises(Refused, match=r"kinds\.json: (cannot be read|expected an object)"):
        Shelf(tmp_path).bundle_for("3.11", "x86_64")


def test_bytes_that_are_not_those_of_their_name(tmp_path: Path, bundle: Bundle) -> None:
    (tmp_path / bundle.sha256).write_bytes(bundle.path.read_bytes()[:-1])
    with pytest.raises(Refused, match=r"the agent cannot be packed for Python 3\.11"):
        shelf(tmp_path, **{"3.11 x86_64": bundle.sha256}).bundle_for("3.11", "x86_64")


def test_it_says_what_was_to_be_packed(tmp_path: Path) -> None:
    shelf(tmp_path)
    with pytest.raises(Refused, match=r"^the controller cannot be packed for Python 3\.12"):
        Shelf(tmp_path, PROGRAMS).bundle_for("3.12", "x86_64")
