"""Commands over a real connection: words, bytes, ends."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from iris_platform import processes
from iris_platform.base import Refused, Unreachable
from iris_platform.ssh import SshConnection
from iris_platform.ssh.transport import BREAK_GRACE_S, sending_on
from tests.harness.cluster import wait_until
from tests.platform.ssh.conftest import Dial, MakeSshd
from tests.platform.ssh.sshd import Sshd

ODD_WORDS = [
    "",
    " two  spaces ",
    "it's",
    'a "quoted" word',
    "a\nnew line\n",
    "$(touch pwned) `touch pwned` $HOME ${IFS}",
    "* ? [a-z] ~ # ! & ; | < > ( ) { } \\ %s %%",
    "-n",
    "--",
    "grüße 世界 🚀",
    "\t\r\x01\x7f",
    "\udcff\udcfe",  # bytes that are no UTF-8, as Python spells them
    "x" * 20_000,
]


@pytest.fixture
def ssh(sshd: Sshd, dial: Dial) -> SshConnection:
    return dial(sshd.target)


def test_words_arrive_byte_for_byte(ssh: SshConnection, sshd: Sshd) -> None:
    done = ssh.run(["printf", r"%s\0", *ODD_WORDS], timeout_s=20)
    expected = [word.encode("utf-8", "surrogateescape") for word in ODD_WORDS]
    assert done.out.split(b"\0")[:-1] == expected
    assert (done.status, done.err, done.truncated) == (0, b"", False)
    assert list((sshd.folder / "home").iterdir()) == []


@pytest.mark.parametrize("argv", [[], "ls -l", ["a\0b"], ["x" * 200_000]])
def test_what_cannot_be_passed_is_no_command(ssh: SshConnection, argv: list[str]) -> None:
    with pytest.raises(ValueError, match="argv"):
        ssh.run(argv, timeout_s=20)


def test_input_of_any_length_and_both_outputs(ssh: SshConnection) -> None:
    # More than two windows of a channel, in, out and beside.
    data = bytes(range(256)) * (5 << 12)
    done = ssh.run(["sh", "-c", "tee /dev/stderr"], timeout_s=60, input=data, max_output=len(data))
    assert (done.status, done.truncated) == (0, False)
    assert done.out == data
    assert done.err == data


def test_a_command_that_reads_nothing_ends_all_the_same(ssh: SshConnection) -> None:
    done = ssh.run(["sh", "-c", "exec 0<&-; exit 7"], timeout_s=20, input=b"x" * (8 << 20))
    assert done.status == 7


def test_outputs_are_cut_each_for_itself(ssh: SshConnection) -> None:
    script = "head -c 5000000 /dev/zero; printf all >&2; exit 4"
    done = ssh.run(["sh", "-c", script], timeout_s=60, max_output=1000)
    assert (done.status, done.out, done.err, done.truncated) == (4, b"\0" * 1000, b"all", True)


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("exit 0", 0),
        ("exit 255", 255),
        ("kill -KILL $$", 128 + signal.SIGKILL),
        ("kill -TERM $$", 128 + signal.SIGTERM),
        ("no-such-command", 127),
    ],
)
def test_how_it_ended(ssh: SshConnection, script: str, status: int) -> None:
    assert ssh.run(["sh", "-c", script], timeout_s=20).status == status


def test_one_that_takes_too_long_is_not_known_to_have_ended(ssh: SshConnection) -> None:
    began = time.monotonic()
    with pytest.raises(Unreachable, match=r"sleep 3600.* did not end within 2 s.* may still be running"):
        ssh.run(["sleep", "3600"], timeout_s=2)
    assert time.monotonic() - began < 10
    assert ssh.run(["true"], timeout_s=20).status == 0


def test_a_script_is_not_shown_to_people(ssh: SshConnection) -> None:
    with pytest.raises(Unreachable, match=r"""sh -c … sh '/a file'" did not end within 2 s""") as caught:
        ssh.run(["sh", "-c", "umask 077\nsleep 3600", "sh", "/a file"], timeout_s=2)
    assert "umask" not in str(caught.value)


def test_one_that_prints_for_ever_ends_in_time(ssh: SshConnection) -> None:
    began = time.monotonic()
    with pytest.raises(Unreachable, match=r"yes.* did not end within 2 s"):
        ssh.run(["yes"], timeout_s=2)
    assert time.monotonic() - began < 10


def test_who_takes_long_over_a_piece_loses_the_command_alone(ssh: SshConnection) -> None:
    with ssh.stream(["yes"], timeout_s=2) as command:
        pieces = iter(command)
        next(pieces)
        # Past the time limit, and past what a stuck connection is given after it.
        threading.Event().wait(2 + BREAK_GRACE_S + 0.5)
        with pytest.raises(Unreachable, match="did not end within"):
            list(pieces)
    assert ssh.run(["true"], timeout_s=20).status == 0


def test_on_time_out_it_reads_the_end_of_its_input(ssh: SshConnection, sshd: Sshd) -> None:
    mark = sshd.folder / "ended"
    with pytest.raises(Unreachable):
        # Without input of its own it would wait for ever.
        ssh.run(["sh", "-c", "(sleep 4; cat; touch $0) 3>&1 >/dev/null", str(mark)], timeout_s=2)
    assert processes.wait_until(mark.exists, 20)


def test_output_that_is_held_open_is_told_apart(ssh: SshConnection) -> None:
    with pytest.raises(Unreachable, match=r"ended with status 3, but .* redirect"):
        ssh.run(["sh", "-c", "sleep 30 & exit 3"], timeout_s=2)


def test_a_stuck_server_ends_no_later(ssh: SshConnection, sshd: Sshd) -> None:
    sshd.signal_connections(signal.SIGSTOP)
    with pytest.raises(Unreachable, match=r"did not start within 1 s"):
        ssh.run(["true"], timeout_s=1)
    sshd.signal_connections(signal.SIGCONT)


def test_a_stream_gives_pieces_as_they_come(ssh: SshConnection) -> None:
    with ssh.stream(
        ["sh", "-c", "echo first; cat >/dev/null; echo last >&2; exit 5"], timeout_s=30
    ) as command:
        pieces = iter(command)
        assert next(pieces) == (b"first\n", False)
        assert command.status is None
        assert list(pieces) == [(b"last\n", True)]
        assert command.status == 5


def test_who_leaves_a_stream_hangs_up(ssh: SshConnection) -> None:
    with ssh.stream(["sh", "-c", "echo $$; exec yes"], timeout_s=60, max_output=1 << 30) as command:
        pid = int(next(iter(command)).data.split()[0])
        assert processes.start_time(pid) is not None
    assert processes.wait_until(lambda: processes.start_time(pid) is None, 20)


def test_beyond_its_cap_a_stream_goes_on_in_silence(ssh: SshConnection) -> None:
    with ssh.stream(["head", "-c", "9000000", "/dev/zero"], timeout_s=60, max_output=100_000) as command:
        assert sum(len(piece.data) for piece in command) == 100_000
        assert (command.truncated, command.status) == (True, 0)


@pytest.mark.parametrize("script", ["echo $$; sleep 3600", "echo $$; yes"])
def test_a_connection_that_dies_under_a_command(ssh: SshConnection, sshd: Sshd, script: str) -> None:
    with ssh.stream(["sh", "-c", script], timeout_s=60, max_output=1 << 30) as command:
        pieces = iter(command)
        next(pieces)
        sshd.kill_connections()
        with pytest.raises(Unreachable, match="the connection broke; it is not known"):
            list(pieces)
    # The command's end may be seen before the connection's.
    wait_until(lambda: not ssh.is_alive)
    with pytest.raises(Unreachable, match=r"the connection is gone.*connect again"):
        ssh.run(["true"], timeout_s=5)


def test_many_threads_share_a_connection(ssh: SshConnection) -> None:
    answers: dict[int, bytes] = {}

    def ask(number: int) -> None:
        answers[number] = ssh.run(["echo", str(number)], timeout_s=30).out

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers == {number: f"{number}\n".encode() for number in range(16)}


def test_a_channel_is_not_given_up_while_something_is_about_to_be_sent_on_it(ssh: SshConnection) -> None:
    """Else the late message would reach the next channel with its number."""
    with ssh.stream(["cat"], timeout_s=30) as command:
        # Of the real one: what callers see of a command has no channel.
        channel = command._channel  # type: ignore[attr-defined]
        with sending_on(channel):
            channel.shutdown_write()
            assert processes.wait_until(
                lambda: "ssh-channel-close" in {thread.name for thread in threading.enumerate()}, 20
            )
            assert not channel.closed
        assert processes.wait_until(lambda: channel.closed, 20)


def test_a_server_that_starts_nothing_says_so(make_sshd: MakeSshd, dial: Dial) -> None:
    ssh = dial(make_sshd(extra="MaxSessions 0\n").target)
    with pytest.raises(Refused, match=r"the server starts no command.*MaxSessions"):
        ssh.run(["true"], timeout_s=20)
