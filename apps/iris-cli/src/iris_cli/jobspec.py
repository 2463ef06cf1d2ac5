"""From the words of `iris job run` to a job's specification.

Words are bytes to the kernel and UTF-8 text on the wire: what cannot travel
unchanged is refused here.
"""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Mapping

from iris_cli.exits import USAGE, CliError
from iris_proto.v1.job_pb2 import JobSpec, Resources

# The controller's default, said here so that `job show` always has it.
DEFAULT_CPU_MILLIS = 1000


def make_spec(options: Namespace, environ: Mapping[bytes, bytes]) -> JobSpec:
    """The specification that the options describe.

    `environ` is this process's environment, for variables without a value.

    Raises:
        CliError: a word cannot travel, or a variable is not set here.
    """
    command = [_text(word, f"argument {index}") for index, word in enumerate(options.command)]
    name = options.name
    if name is None:
        name = command[0].rstrip("/").rpartition("/")[2] or command[0]
    spec = JobSpec(
        name=_text(name, "--name"),
        command=command,
        env=make_environment(options.env, environ),
        replicas=options.replicas,
        gang=options.gang,
        resources=Resources(cpu_millis=options.cpu or DEFAULT_CPU_MILLIS, memory_bytes=options.memory or 0),
        max_failures=options.max_failures,
    )
    if options.max_losses is not None:
        spec.max_losses = options.max_losses
    return spec


def make_environment(words: list[str], environ: Mapping[bytes, bytes]) -> dict[str, str]:
    """The variables that `-e` words name; the last of one name counts.

    Raises:
        CliError: a name is empty, or a value cannot travel or is not set here.
    """
    found = {}
    for word in words:
        raw_key, given, raw_value = word.partition("=")
        key = _text(raw_key, "-e")
        if not key:
            raise CliError(USAGE, f"-e {_shown(word)}: expected KEY=VALUE or KEY")
        if given:
            found[key] = _text(raw_value, f"-e {key}")
            continue
        value = environ.get(os.fsencode(raw_key))
        if value is None:
            raise CliError(
                USAGE,
                f"-e {key}: {key} is not set here",
                hint=f"give it a value: -e {key}=VALUE",
            )
        found[key] = _text(os.fsdecode(value), f"-e {key}")
    return found


def _text(word: str, what: str) -> str:
    """A word of the command line as the text that its bytes are."""
    data = os.fsencode(word)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CliError(
            USAGE,
            f"{what} is not UTF-8 text and cannot travel: {_shown(word)}",
            hint="put the bytes into a file, or encode them",
        ) from error
    if "\0" in text:
        raise CliError(USAGE, f"{what} holds a NUL byte and cannot travel: {_shown(word)}")
    return text


def _shown(word: str) -> str:
    """The word's bytes so that any terminal shows them."""
    return repr(os.fsencode(word))[1:]
