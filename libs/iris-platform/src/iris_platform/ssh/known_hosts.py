"""The cluster's own known-hosts file: keys are pinned at first sight and never change.

The format is OpenSSH's (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"), so that
`ssh -o UserKnownHostsFile=FILE` and `ssh-keygen -R` work on it. Knows nothing of
connections. Anything in the file that is not understood is an error: a damaged
line that was passed over would let a pinned host show any key.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from iris_platform import file_lock, files
from iris_platform.base import Refused, Unreachable
from iris_platform.ssh.errors import HostKeyChanged

# Writers hold the lock for as long as a small file takes to write.
LOCK_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class PinnedKey:
    """A line of the file that is about some host; `line` counts from 1."""

    line: int
    kind: str
    blob: bytes


class KnownHosts:
    """One file, shared by all threads and processes that connect for a cluster."""

    def __init__(self, path: Path, *, pins: bool = True) -> None:
        """Without `pins` a new host is let pass and not written down: for a look that changes nothing."""
        self.path = path
        self._pins = pins

    def pinned(self, host: str, port: int) -> list[PinnedKey]:
        """The keys that `host:port` may show; none means that it was never seen.

        Raises:
            Refused: the file cannot be read or understood.
        """
        name = entry_name(host, port)
        return [key for is_named, key in self._entries() if is_named(name)]

    def check(self, host: str, port: int, kind: str, blob: bytes) -> bool:
        """Accept the key that a host shows, and pin it if the host is new.

        `kind` is the key's type, such as `ssh-ed25519`; `blob` its public half
        as on the wire. Of callers that see a new host at once, one pins and the
        others compare.

        Returns:
            Whether this call pinned it.

        Raises:
            HostKeyChanged: another key is pinned.
            Refused: the file cannot be read, understood or written.
            Unreachable: others held its lock for too long.
        """
        if self._matches(host, port, kind, blob) or not self._pins:
            return False
        try:
            files.make_private_dir(self.path.parent)
            with file_lock.hold(self.path.with_name(self.path.name + ".lock"), LOCK_TIMEOUT_S):
                if self._matches(host, port, kind, blob):
                    return False
                self._append(f"{entry_name(host, port)} {kind} {base64.b64encode(blob).decode('ascii')}\n")
                return True
        except TimeoutError as error:
            raise Unreachable(f"known hosts: {error}; try again") from error
        except OSError as error:
            raise Refused(f"{self.path}: {error.strerror or error}; host keys cannot be pinned") from error

    def _matches(self, host: str, port: int, kind: str, blob: bytes) -> bool:
        """Whether this very key is pinned; False for a new host.

        Raises:
            HostKeyChanged: others are.
        """
        pinned = self.pinned(host, port)
        if any(hmac.compare_digest(key.blob, blob) for key in pinned):
            return True
        if not pinned:
            return False
        was = next((key for key in pinned if key.kind == kind), pinned[0])
        name = entry_name(host, port)
        raise HostKeyChanged(
            f"the host key of {name} has changed: {self.path}:{was.line} has {was.kind}"
            f" {fingerprint(was.blob)}, the host shows {kind} {fingerprint(blob)}. Another machine answers"
            f" at this address, or the host was installed anew. Only if you expect that: remove line"
            f" {was.line} of {self.path} (ssh-keygen -R '{name}' -f '{self.path}') and try again"
        )

    def _append(self, line: str) -> None:
        text = self._read()
        if text and not text.endswith("\n"):
            text += "\n"
        # A new file in place of the old one: readers need no lock, and a crash
        # leaves no half line.
        files.write_atomic(self.path, (text + line).encode("utf-8"))

    def _read(self) -> str:
        try:
            return self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            raise Refused(f"{self.path}: cannot be read: {error}") from error

    def _entries(self) -> Iterator[tuple[Callable[[str], bool], PinnedKey]]:
        for number, line in enumerate(self._read().splitlines(), start=1):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            try:
                if words[0].startswith("@"):
                    raise ValueError(f"{words[0]} is not supported in this file")
                is_named, (kind, text) = _names(words[0]), words[1:3]
                blob = base64.b64decode(text, validate=True)
                if blob[4 : 4 + int.from_bytes(blob[:4], "big")] != kind.encode("utf-8"):
                    raise ValueError(f"the key is no {kind}")
            except (ValueError, binascii.Error) as error:
                raise Refused(
                    f"{self.path}:{number}: expected HOST TYPE KEY: {error}; mend or remove this line"
                ) from error
            yield is_named, PinnedKey(number, kind, blob)


def entry_name(host: str, port: int) -> str:
    """A host's name in the file: with its port where that is not 22."""
    return host.lower() if port == 22 else f"[{host.lower()}]:{port}"


def fingerprint(blob: bytes) -> str:
    """A public key's fingerprint as OpenSSH prints it: `SHA256:…`."""
    digest = base64.b64encode(hashlib.sha256(blob).digest()).decode("ascii")
    return "SHA256:" + digest.rstrip("=")


def _names(text: str) -> Callable[[str], bool]:
    """Whether a line beginning with `text` is about a name."""
    if not text.startswith("|"):
        return lambda name: name in text.lower().split(",")
    # A name hashed by `ssh-keygen -H`.
    _, version, salt, digest = text.split("|")
    if version != "1":
        raise ValueError(f"hashed names of kind {version} are not supported")
    key, wanted = base64.b64decode(salt, validate=True), base64.b64decode(digest, validate=True)
    return lambda name: hmac.compare_digest(hmac.new(key, name.encode("utf-8"), "sha1").digest(), wanted)
