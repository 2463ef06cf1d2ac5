"""The keys to offer to a host: from files and from the user's agent.

A key that is named must work or be explained; one that is merely found may be
passed over. Paths are told to the operator, contents never.
"""

from __future__ import annotations

import base64
import binascii
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import paramiko
from paramiko.agent import AgentSSH
from paramiko.pkey import UnknownKeyType

from iris_platform.base import Refused
from iris_platform.ssh.deadline import Deadline
from iris_platform.ssh.target import SshTarget

# ssh_config(5), IdentityFile, without kinds that paramiko does not have.
DEFAULT_FILES = ("~/.ssh/id_rsa", "~/.ssh/id_ecdsa", "~/.ssh/id_ed25519")
# A server ends a connection after so many refusals: MaxAuthTries of sshd_config(5).
MAX_OFFERS = 6
_OPENSSH_MAGIC = b"openssh-key-v1\0"
_MAX_FILE_BYTES = 1 << 16


@dataclass(frozen=True)
class Offer:
    """A key to try; `name` says where it comes from."""

    name: str
    key: paramiko.PKey


class EncryptedKey(Exception):
    """A key file needs a passphrase; `public` is its public half, if it shows."""

    def __init__(self, public: bytes | None) -> None:
        super().__init__("encrypted")
        self.public = public


class _Agent(AgentSSH):
    """The user's agent, which may wait for the user's finger: with a limit."""

    def __init__(self, path: str, deadline: Deadline) -> None:
        super().__init__()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(max(0.1, deadline.left()))
            self._socket.connect(path)
            # As paramiko's own `Agent` does; the stubs leave the method out.
            self._connect(self._socket)  # type: ignore[attr-defined]
        except BaseException:
            self._socket.close()
            raise

    def close(self) -> None:
        self._socket.close()


@contextmanager
def offers(target: SshTarget, deadline: Deadline) -> Iterator[tuple[list[Offer], list[str]]]:
    """The keys for `target` in the order to try them, and notes on those that cannot be used.

    The agent's keys can be used inside the context only.

    Raises:
        Refused: the key file that the cluster's configuration names cannot be used.
    """
    notes: list[str] = []
    agent = _open_agent(target, deadline, notes)
    try:
        in_agent = [] if agent is None else [Offer(_agent_name(key), key) for key in agent.get_keys()]
        if target.key_file is not None:
            found = [_named(target.key_file, in_agent)]
        else:
            found = list(_found(target, in_agent, notes))
        notes += [f"{offer.name} (not tried: {MAX_OFFERS} at most)" for offer in found[MAX_OFFERS:]]
        yield found[:MAX_OFFERS], notes
    finally:
        if agent is not None:
            agent.close()


def _named(path: str, in_agent: list[Offer]) -> Offer:
    try:
        return Offer(path, load(path))
    except EncryptedKey as error:
        held = _in_agent(error.public, in_agent)
        if held is not None:
            return Offer(f"{path} (in the agent)", held.key)
        raise Refused(
            f"key file {path} is encrypted and the SSH agent does not hold it: add it (ssh-add {path}),"
            " or name a key without a passphrase as ssh_key_file"
        ) from error
    except (OSError, ValueError) as error:
        raise Refused(
            f"key file {path} cannot be used: {_words(error)}; correct ssh_key_file in the cluster's configuration"
        ) from error


def _found(target: SshTarget, in_agent: list[Offer], notes: list[str]) -> Iterator[Offer]:
    """As OpenSSH: what the agent has of the files named, the agent's others, the files."""
    files: list[Offer] = []
    named: list[Offer] = []
    for path in target.identity_files or map(os.path.expanduser, DEFAULT_FILES):
        held = _in_agent(_public_beside(path), in_agent)
        if held is not None:
            named.append(Offer(f"{path} (in the agent)", held.key))
            continue
        try:
            files.append(Offer(path, load(path)))
        except EncryptedKey as error:
            held = _in_agent(error.public, in_agent)
            if held is not None:
                named.append(Offer(f"{path} (in the agent)", held.key))
            else:
                notes.append(f"{path} (encrypted, and not in the agent)")
        except FileNotFoundError:
            if target.identity_files:
                notes.append(f"{path} (no such file)")
        except (OSError, ValueError) as error:
            notes.append(f"{path} ({_words(error)})")
    yield from named
    if not target.identities_only:
        taken = {offer.key.asbytes() for offer in named}
        yield from (offer for offer in in_agent if offer.key.asbytes() not in taken)
    yield from files


def load(path: str) -> paramiko.PKey:
    """Read a private key, with its certificate if one is beside it.

    Raises:
        EncryptedKey: it needs a passphrase.
        OSError: it cannot be read.
        ValueError: it is no private key of a known kind.
    """
    # paramiko would read a device or a pipe for ever.
    if not os.path.isfile(path):
        raise FileNotFoundError(2, "no such file" if not os.path.exists(path) else "not a file", path)
    if os.path.getsize(path) > _MAX_FILE_BYTES:
        raise ValueError("too large for a private key")
    try:
        return paramiko.PKey.from_path(path)
    except (TypeError, paramiko.PasswordRequiredException) as error:
        # TypeError is how the cryptography package asks for a passphrase.
        raise EncryptedKey(_public_inside(path) or _public_beside(path)) from error
    except (paramiko.SSHException, UnknownKeyType, UnicodeDecodeError, IndexError) as error:
        raise ValueError(f"no private key of a known kind: {str(error) or type(error).__name__}") from error
    except ValueError as error:
        # Its words are pages on OpenSSL's inside.
        raise ValueError("no private key of a known kind") from error


def _open_agent(target: SshTarget, deadline: Deadline, notes: list[str]) -> _Agent | None:
    path = os.environ.get("SSH_AUTH_SOCK", "") if target.agent is None else target.agent
    if not path:
        return None
    try:
        return _Agent(path, deadline)
    except (OSError, paramiko.SSHException) as error:
        notes.append(f"the agent at {path} ({_words(error)})")
        return None


def _in_agent(public: bytes | None, in_agent: list[Offer]) -> Offer | None:
    return next((offer for offer in in_agent if public is not None and offer.key.asbytes() == public), None)


def _agent_name(key: paramiko.AgentKey) -> str:
    return f"the agent's {key.comment or key.get_name()}"


def _public_beside(path: str) -> bytes | None:
    """The public half in `PATH.pub`."""
    try:
        return base64.b64decode(Path(path + ".pub").read_text("utf-8").split()[1], validate=True)
    except (OSError, IndexError, ValueError):
        return None


def _public_inside(path: str) -> bytes | None:
    """The public half in a key file of OpenSSH's own format, which does not encrypt it.

    See PROTOCOL.key of OpenSSH: magic, three strings, a count, the public key.
    """
    try:
        lines = Path(path).read_text("ascii").split("-----")[2]
        data = base64.b64decode("".join(lines.split()), validate=True)
    except (OSError, IndexError, ValueError, binascii.Error):
        return None
    if not data.startswith(_OPENSSH_MAGIC):
        return None
    message = paramiko.Message(data[len(_OPENSSH_MAGIC) :])
    for _ in range(3):
        message.get_string()
    return message.get_string() if message.get_int() == 1 else None


def _words(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
