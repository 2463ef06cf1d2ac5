"""The pages that are made from the code are what the code says."""

import re

import pytest

from iris_controller.core.moves import TABLES
from tools import generate_docs


def test_generated_pages_are_fresh() -> None:
    assert generate_docs.stale_pages() == [], "run `tox -e docs-write`"


def test_a_stale_page_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(generate_docs.PAGES, "docs/states.md", lambda: "something else")
    assert generate_docs.stale_pages() == ["docs/states.md"]


def test_every_link_of_the_reference_leads_somewhere() -> None:
    page = generate_docs.configuration_page()
    headings = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    # As GitHub makes them.
    anchors = {re.sub(r"[^a-z0-9_ -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    links = re.findall(r"\]\(#([^)]*)\)", page)
    assert links and set(links) <= anchors
    assert len(anchors) == len(headings)


def test_every_table_has_its_section() -> None:
    page = generate_docs.states_page()
    assert set(generate_docs.ORDER) == set(TABLES)
    for kind in generate_docs.ORDER:
        assert f"\n## {kind.capitalize()}\n" in page
