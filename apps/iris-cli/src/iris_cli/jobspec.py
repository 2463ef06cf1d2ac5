"""From the words of `iris job run` to a job's specification.

Words are bytes to the kernel and UTF-8 text on the wire: what cannot travel
unchanged is refused here.
"""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Mapping

from iris_cli.exits import USAGE, CliError
from iris_config.accelerators import find_accelerator
from iris_proto.v1.job_pb2 import JobSpec, Resources

# The type of groups that have none.
NO_ACCELERATOR = "cpu"
# The controller's default, said here so that `job show` always has it.
DEFAULT_CPU_MILLIS = 1000
# What Linux hands to a program (execve(2), "Limits on size of arguments and
# environment"): 32 pages for one string with its NUL, and for all of them with
# a pointer each a quarter of the stack, whose usual limit is 8 MiB.
MAX_STRING_BYTES = 32 * 4096 - 1
MAX_TOTAL_BYTES = 2 << 20
POINTER_BYTES = 8
# Of the total, for what the agent adds: its own environment, and Iris's variables.
AGENT_BYTES = 256 << 10


def make_spec(options: Namespace, environ: Mapping[bytes, bytes]) -> JobSpec:
    """The specification that the options describe.

    `environ` is this process's environment, for variables without a value.

    Raises:
        CliError: a word cannot travel, or a variable is not set here.
    """
    command = [_word(word, f"argument {index}") for index, word in enumerate(options.command)]
    name = options.name
    if name is None:
        name = command[0].rstrip("/").rpartition("/")[2] or command[0]
    env = make_environment(options.env, environ)
    accelerator = accelerator_name(options.accelerator or "")
    _check_total([*command, *(f"{key}={value}" for key, value in env.items())])
    spec = JobSpec(
        name=_text(name, "--name"),
        command=command,
        env=env,
        # Of an accelerator the controller knows how many hosts it has.
        replicas=options.replicas or (0 if accelerator else 1),
        gang=options.gang,
        accelerator=accelerator,
        slices=_slices(options, accelerator),
        resources=Resources(cpu_millis=options.cpu or DEFAULT_CPU_MILLIS, memory_bytes=options.memory or 0),
        max_failures=options.max_failures,
    )
    if options.max_losses is not None:
        spec.max_losses = options.max_losses
    if options.timeout is not None:
        spec.timeout.FromMilliseconds(options.timeout)
    return spec


def _slices(options: Namespace, accelerator: str) -> int:
    """How many slices the job is on. Of an accelerator the controller checks that the tasks fill them."""
    slices: int = options.slices or 1
    if slices == 1:
        return 1
    if not accelerator and not options.gang:
        raise CliError(
            USAGE,
            f"--slices {slices}: only a gang runs on several slices",
            hint="give --gang and --replicas, or --accelerator",
        )
    replicas = options.replicas or (slices if accelerator else 1)
    if replicas % slices:
        raise CliError(
            USAGE,
            f"--slices {slices}: as many tasks are on each slice, and {replicas} cannot be divided so",
            hint=f"give --replicas a multiple of {slices}",
        )
    return slices


def accelerator_name(word: str) -> str:
    """The one name of an accelerator type; "" for none. What the catalogue lacks may be an operator's own."""
    if word in ("", NO_ACCELERATOR):
        return ""
    text = _text(word, "--accelerator")
    try:
        return find_accelerator(text).accelerator_type
    except ValueError:
        return text


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
            found[key] = _value(key, raw_value)
            continue
        value = environ.get(os.fsencode(raw_key))
        if value is None:
            raise CliError(
                USAGE,
                f"-e {key}: {key} is not set here",
                hint=f"give it a value: -e {key}=VALUE",
            )
        found[key] = _value(key, os.fsdecode(value))
    return found


def _value(key: str, word: str) -> str:
    value = _text(word, f"-e {key}", is_shown=False)
    # The kernel takes name and value as one string.
    _check_length(f"{key}={value}", f"-e {key}")
    return value


def _word(word: str, what: str) -> str:
    text = _text(word, what)
    _check_length(text, what)
    return text


def _check_length(text: str, what: str) -> None:
    length = len(text.encode())
    if length > MAX_STRING_BYTES:
        raise CliError(
            USAGE,
            f"{what} is too long: {length:,} bytes, and no program is given more than {MAX_STRING_BYTES:,}",
            hint="put it into a file, and give the file's name",
        )


def _check_total(strings: list[str]) -> None:
    most = MAX_TOTAL_BYTES - AGENT_BYTES
    total = sum(len(text.encode()) + 1 + POINTER_BYTES for text in strings)
    if total > most:
        raise CliError(
            USAGE,
            f"the command and its -e variables are too long together: {total:,} bytes of at most {most:,}",
            hint="put them into files, and give the files' names",
        )


def _text(word: str, what: str, *, is_shown: bool = True) -> str:
    """A word of the command line as the text that its bytes are; errors show it unless it may be a secret."""
    data = os.fsencode(word)
    shown = f": {_shown(word)}" if is_shown else ""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CliError(
            USAGE,
            f"{what} is not UTF-8 text and cannot travel{shown}",
            hint="put the bytes into a file, or encode them",
        ) from error
    if "\0" in text:
        raise CliError(USAGE, f"{what} holds a NUL byte and cannot travel{shown}")
    return text


def _shown(word: str) -> str:
    """The word's bytes so that any terminal shows them."""
    return repr(os.fsencode(word))[1:]
