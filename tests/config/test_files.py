"""Paths that lead to something else than a configuration: refused at once, in one line."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from iris_config import ConfigError, load_config, read_config_text
from iris_config.files import MAX_BYTES


def refusal(path: str | Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    text = str(caught.value)
    assert "\n" not in text and text.startswith(f"{path}:")
    return text.removeprefix(f"{path}:").removeprefix(" error: ")


def test_what_is_no_file(tmp_path: Path) -> None:
    assert refusal(tmp_path) == "expected a file, found a directory"
    os.mkfifo(tmp_path / "pipe")
    assert refusal(tmp_path / "pipe") == "expected a file, found a pipe"
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(os.path.relpath(tmp_path / "socket"))
        assert refusal(tmp_path / "socket") == "expected a file, found a socket"
    # Reading it never ends.
    assert refusal("/dev/zero") == "expected a file, found a device"
    (tmp_path / "link").symlink_to("/dev/zero")
    assert refusal(tmp_path / "link") == "expected a file, found a device"


def test_what_is_not_there(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none") == "cannot read: No such file or directory"
    (tmp_path / "loop").symlink_to("loop")
    assert refusal(tmp_path / "loop") == "cannot read: Too many levels of symbolic links"


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    assert refusal(path) == "larger than 4 MiB"
    path.write_bytes(b"#" * MAX_BYTES)
    assert len(read_config_text(path)) == MAX_BYTES
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    assert refusal(path) == "larger than 4 MiB"


def test_garbage(tmp_path: Path) -> None:
    path = tmp_path / "garbage"
    path.write_bytes(b"name: x\nlater: \xff\xfe")
    assert refusal(path) == "2:8: error: not UTF-8 text"
    path.write_bytes(b"\0\1\2")
    assert "1:1: error" in refusal(path)
