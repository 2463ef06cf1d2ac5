"""Lists that come in pages, fetched whole, with a bound."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from iris_proto.v1.controller_pb2 import (
    ListJobsResponse,
    ListSlicesResponse,
    ListTasksResponse,
    ListWorkersResponse,
)

# More than anybody reads; what is beyond is said to be missing.
MOST_ROWS = 200_000
PAGE_SIZE = 1000


P = TypeVar("P", ListJobsResponse, ListTasksResponse, ListSlicesResponse, ListWorkersResponse)


def all_pages(ask: Callable[[str], P], rows: Callable[[P], int]) -> P:
    """One response with the rows of every page.

    `ask` fetches the page of a token, `rows` counts the rows of a response.
    Where there are more than `MOST_ROWS`, the token of the next page stays.
    """
    whole = ask("")
    while whole.next_page_token and rows(whole) < MOST_ROWS:
        token, before = whole.next_page_token, rows(whole)
        whole.next_page_token = ""
        whole.MergeFrom(ask(token))
        if rows(whole) == before:
            # An empty page with a successor could go on for ever.
            break
    return whole
