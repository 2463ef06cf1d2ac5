"""A gap in a log is told where it is, and never glues two lines together."""

from __future__ import annotations

from iris_cli.follow.logs import LogPrinter
from iris_cli.follow.positions import LogPositions
from iris_proto.v1.controller_pb2 import StreamLogsRequest, StreamLogsResponse
from tests.cli.builders import data, end, finished


class Screen:
    """Both streams of a command, as one text."""

    def __init__(self) -> None:
        self.text = ""

    def note(self, text: str) -> None:
        self.text += f"! {text}\n"

    def task_bytes(self, text: bytes) -> None:
        self.text += text.decode()


def shown(*messages: StreamLogsResponse, prefixed: bool) -> str:
    screen = Screen()
    printer = LogPrinter(screen, prefixed=prefixed)  # type: ignore[arg-type]
    positions = LogPositions(StreamLogsRequest(job_id="j"))
    for message in messages:
        piece = positions.take(message)
        if piece is not None:
            printer.show(piece)
    return screen.text


def test_lines_of_several_tasks_end_at_a_gap() -> None:
    """The rest of a line and the beginning of another were one line."""
    text = shown(
        data(0, b"one\ncut of", task=2),
        data(99, b"f the rest\nlast\n", task=2, dropped_before=99),
        finished(),
        prefixed=True,
    )
    assert text.splitlines() == [
        "[2] one",
        "[2] cut of",
        "! iris: 89 bytes of task 2 were dropped here: its log is over the size limit",
        "[2] f the rest",
        "[2] last",
    ]


def test_gap_at_the_very_end() -> None:
    text = shown(data(0, b"one\n"), data(50, b"", dropped_before=50), end(50), finished(), prefixed=False)
    assert text == "one\n! iris: 46 bytes of task 0 were dropped here: its log is over the size limit\n"


def test_a_log_whose_end_is_not_here_yet() -> None:
    """`job wait` and then `job logs` printed a part and said nothing."""
    text = shown(data(0, b"one\n"), finished(arriving=1), prefixed=False)
    assert text == "one\n! iris: not all logs of 1 ended task are here yet; --follow waits for them\n"
