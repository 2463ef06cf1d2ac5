"""Reads the user's `~/.ssh/config`, with what paramiko leaves out: `Include`."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator

import paramiko

from iris_platform.base import Refused
from iris_platform.ssh.target import UserConfig

# OpenSSH's own limit, READCONF_MAX_DEPTH.
MAX_DEPTH = 16
MAX_FILES = 256
_INCLUDE = re.compile(r"\s*include(?:\s*=\s*|\s+)(.+)", re.IGNORECASE)
_HEADER = re.compile(r"\s*(?:host|match)\b", re.IGNORECASE)


def read_user_config(path: str) -> UserConfig:
    """Read a file in the format of ssh_config(5); one that is absent says nothing.

    Raises:
        Refused: it cannot be read or understood.
    """
    path = os.path.expanduser(path)
    try:
        if not os.path.exists(path):
            return paramiko.SSHConfig()
        lines = list(_lines(path, 0, [MAX_FILES]))
        return _Config(paramiko.SSHConfig.from_text("\n".join(lines)), path)
    except (OSError, UnicodeDecodeError, paramiko.ConfigParseError) as error:
        raise _refused(path, error) from error


class _Config:
    def __init__(self, config: paramiko.SSHConfig, path: str) -> None:
        self._config = config
        self._path = path

    def lookup(self, hostname: str) -> dict[str, object]:
        try:
            return dict(self._config.lookup(hostname))
        except (paramiko.SSHException, ImportError, OSError) as error:
            # `Match exec` needs a package of its own, canonical names a resolver.
            raise _refused(self._path, error) from error


def _refused(path: str, error: Exception) -> Refused:
    return Refused(f"{path}: {error}; mend it, or name another file as ssh.config_file")


def _lines(path: str, depth: int, files_left: list[int]) -> Iterator[str]:
    """The lines of a file with those of the files that it includes in their place."""
    files_left[0] -= 1
    if depth > MAX_DEPTH or files_left[0] < 0:
        raise OSError("too many Include directives; do files include each other?")
    header = "Host *"
    with open(path, encoding="utf-8") as file:
        text = file.read()
    for line in text.splitlines():
        if _HEADER.match(line):
            header = line
        included = _INCLUDE.match(line)
        if not included:
            yield line
            continue
        for name in included[1].split():
            for found in _matching(name.strip('"')):
                yield from _lines(found, depth + 1, files_left)
        # The hosts of an included file end with it.
        yield header


def _matching(pattern: str) -> list[str]:
    # Relative names are relative to ~/.ssh, says ssh_config(5); absent files are fine.
    return sorted(glob.glob(os.path.join(os.path.expanduser("~/.ssh"), os.path.expanduser(pattern))))
