"""A configuration's file as text, whatever it is that the path leads to.

Never reads more than it has to in order to see that it is too much, and waits
for nobody: a device, a directory or a pipe is no configuration.
"""

from __future__ import annotations

import os
import stat

from iris_config.problems import ConfigError, Position, Problem

# A fleet of a hundred groups takes 30 kB.
MAX_BYTES = 4 * 1024 * 1024

_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def read_config_text(path: str | os.PathLike[str]) -> str:
    """The text of a configuration file.

    Raises:
        ConfigError: it cannot be read, is no file, too large, or not UTF-8.
    """
    source = os.fspath(path)
    try:
        data = _read(source)
    except OSError as error:
        raise ConfigError(source, [Problem(None, "", f"cannot read: {error.strerror}")]) from error
    if len(data) > MAX_BYTES:
        raise ConfigError(source, [Problem(None, "", f"larger than {MAX_BYTES // 1024 // 1024} MiB")])
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        column = error.start - (before.rfind(b"\n") + 1) + 1
        where = Position(before.count(b"\n") + 1, column)
        raise ConfigError(source, [Problem(where, "", "not UTF-8 text")]) from error


def _read(source: str) -> bytes:
    # Looked at before it is opened: to open a tape rewinds it.
    mode = os.stat(source).st_mode
    for matches, kind in _KINDS:
        if matches(mode):
            raise ConfigError(source, [Problem(None, "", f"expected a file, found {kind}")])
    # Non-blocking: it may have become a pipe since.
    with os.fdopen(os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
        return file.read(MAX_BYTES + 1)
