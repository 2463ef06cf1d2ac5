"""What keeper and session say, as bytes."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iris_bootstrap.attempt import SeenRange
from iris_bootstrap.keeper import frames
from iris_bootstrap.keeper.frames import FrameError, FrameReader, Message, Report, decode, encode

REPORT = Report("j/0/1/1", "FAILED", "exit", "é\n", 1, 2, 3, None, 4)
MESSAGES: list[Message] = [
    frames.Ping(1),
    frames.Job("j", "ZG9j", ["a b", "漢"], {"K": "v\n"}, 1.5, True, 0.5),
    frames.Start("j/0/1/1", "ZG9j", {"A": "b"}),
    frames.Release("j/0/1/1", {"A": "b"}),
    frames.Stop("j/0/1/1", "job_stopped"),
    frames.Lease(12.25, 600.0, 1800.0, 30.0),
    frames.Notice("preempted", "it goes", 12.25),
    frames.Forget(["j/0/1/1"], ["j"], ["j-0-1-1"]),
    frames.KnownJob("j", "ZG9j"),
    frames.Known("j/0/1/1", "ZG9j", REPORT),
    frames.Known("j/0/1/1", "ZG9j", None),
    frames.Seen([SeenRange("j", 1, 1, 0, 9)]),
    frames.State("boot", ""),
    frames.Pong(1),
    frames.Reports([REPORT, REPORT._replace(exit_code=None, signal=9, port=20000)]),
    frames.Bye("SIGTERM"),
]


def test_every_kind_is_here() -> None:
    kinds = {*frames.FromSession.__args__, *frames.FromKeeper.__args__}
    assert {type(message) for message in MESSAGES} == kinds


def test_messages_survive_their_bytes() -> None:
    assert FrameReader().feed(encode(MESSAGES)) == MESSAGES


@given(st.lists(st.sampled_from(MESSAGES)), st.lists(st.integers(1, 200)))
def test_however_the_bytes_are_cut(messages: list[Message], cuts: list[int]) -> None:
    data = b"".join(encode([message]) for message in messages)
    reader = FrameReader()
    found = []
    for cut in cuts:
        found += reader.feed(data[:cut])
        data = data[cut:]
    found += reader.feed(data)
    assert found == messages


@pytest.mark.parametrize(
    "body", [b"", b"{}x", b"[1]", b'[["no such kind"]]', b'[["ping"]]', b'[["ping",1,2]]', b"[[]]", b"\xff"]
)
def test_another_language_is_an_error(body: bytes) -> None:
    with pytest.raises(FrameError):
        decode(body)


def test_endless_frame_is_refused_before_it_is_read() -> None:
    with pytest.raises(FrameError, match="accepted"):
        FrameReader().feed(struct.pack(">I", frames.MAX_FRAME_BYTES + 1))
