"""`iris events`: what happened, once or as it goes on."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator

from iris_cli.client import Connection, Controller
from iris_cli.exits import INTERRUPTED
from iris_cli.follow.retry import Retry, limit_from_environment, resilient
from iris_cli.listings import list_events
from iris_cli.locate import find_cluster
from iris_cli.output import Output
from iris_cli.table import GrowingTable
from iris_cli.text import moment_text, why_words
from iris_proto.v1.controller_pb2 import Event, WatchEventsRequest, WatchEventsResponse

# What most kinds, subjects and states fit in, where rows are printed as they come.
LEAST_WIDTHS = (20, 11, 36, 12, 0)
HEADERS = ("TIME", "KIND", "SUBJECT", "WHAT", "REASON")


def run(options: Namespace) -> int:
    """Show events; with --follow until Ctrl-C."""
    output = Output(options)
    controller = Controller(find_cluster(options))
    if options.follow:
        return _follow(controller, output)
    with controller.connect() as connection:
        response = list_events(connection)
    if output.structured:
        output.message(response)
        return 0
    rows = [_row(event) for event in response.events]
    output.table(HEADERS, rows, "no events")
    return 0


def _follow(controller: Controller, output: Output) -> int:
    seen = 0
    table = GrowingTable(HEADERS, LEAST_WIDTHS)
    output.line(table.header())

    def open_stream(connection: Connection) -> Iterator[WatchEventsResponse]:
        request = WatchEventsRequest(after_event_id=seen)
        return connection.stream(connection.stub.WatchEvents, request)

    retry = Retry(
        limit_from_environment(),
        patient=False,
        announce=lambda text: output.note(f"iris: {text}"),
    )
    try:
        for response in resilient(controller, open_stream, lambda _: False, retry):
            fresh = [event for event in response.events if event.event_id > seen]
            if not fresh:
                continue
            seen = fresh[-1].event_id
            if output.structured:
                output.stream_message(WatchEventsResponse(events=fresh))
            for event in fresh:
                output.line(table.row(_row(event)))
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _row(event: Event) -> tuple[str, ...]:
    why = why_words(event.what, event.reason, event.message)
    return (moment_text(event.at), event.kind, event.subject, event.what, why)
