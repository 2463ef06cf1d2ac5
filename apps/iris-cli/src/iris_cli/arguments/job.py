"""`iris job …`: submit work and learn what became of it."""

import argparse

from iris_cli.arguments.quantities import (
    cpu_millis,
    duration_s,
    job_id,
    limit_ms,
    not_negative,
    replicas,
    size_bytes,
)
from iris_cli.arguments.spec import HelpText, Verb

_PROGRAM_EXITS = (
    ("0", "the job succeeded"),
    ("N", "one task: the program's own status; 128+N for a signal, such as 143 or"),
    ("", "137 where the job was stopped or ran longer than its --timeout; 127 command"),
    ("", "not found, 126 not executable"),
    ("1", "several tasks: not all succeeded; one task: it never started, or ended"),
    ("", "well only because the job was stopped"),
    ("115", "the controller could not be reached after the submission"),
)


def _run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("command", nargs="*", metavar="COMMAND", help="what to run, after --")
    parser.add_argument("--name", metavar="NAME", help="any text (default: the program's name)")
    parser.add_argument(
        "--replicas",
        type=replicas,
        metavar="N",
        help="tasks to run, each with its IRIS_TASK_INDEX (default: 1, or one for each host of the"
        " accelerator's slices)",
    )
    parser.add_argument(
        "--accelerator",
        metavar="TYPE",
        help="run on one slice of this type, such as v5litepod-16 or v5e-16: a gang with a task"
        " for each of its hosts",
    )
    parser.add_argument(
        "--gang", action="store_true", help="start all tasks together on one slice (see --slices), or none"
    )
    parser.add_argument(
        "--slices",
        type=replicas,
        metavar="K",
        help="run the gang on so many slices of one scale group at once, as many of its tasks on"
        " each, in order; with --accelerator on K of its type (default: 1)",
    )
    parser.add_argument(
        "--cpu", type=cpu_millis, metavar="CPUS", help="processors per task, such as 0.5 (default: 1)"
    )
    parser.add_argument("--memory", type=size_bytes, metavar="SIZE", help="memory per task, such as 2GiB")
    _add_attempt(parser)
    parser.add_argument("--detach", action="store_true", help="print the job's id and return at once")


def _add_attempt(parser: argparse.ArgumentParser) -> None:
    """What each attempt of a task is given, and how many there may be."""
    parser.add_argument(
        "-e",
        "--env",
        action="append",
        default=[],
        metavar="KEY[=VALUE]",
        help="a variable of the tasks' environment; without =VALUE it is taken from"
        " this one; may be given several times",
    )
    parser.add_argument(
        "--max-failures",
        type=not_negative,
        default=0,
        metavar="N",
        help="how often a task that failed is run again (default: 0)",
    )
    parser.add_argument(
        "--max-losses",
        type=not_negative,
        metavar="N",
        help="how often a task that lost its machine is run again (default: 100)",
    )
    parser.add_argument(
        "--timeout",
        type=limit_ms,
        metavar="DURATION",
        help="how long each attempt of a task may run, such as 90s or 1h30m; one that"
        " runs longer has failed (default: as long as it likes)",
    )


def _id(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job_id", type=job_id, metavar="ID", help="the job's id, as `iris job list` shows it")


def _list(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--active", action="store_true", help="only jobs that have not ended")


def _logs(parser: argparse.ArgumentParser) -> None:
    _id(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="stay until the job has ended")
    parser.add_argument("--task", type=not_negative, metavar="N", help="only this task")
    parser.add_argument("--tail", type=not_negative, metavar="N", help="only the last N lines of each task")


def _wait(parser: argparse.ArgumentParser) -> None:
    _id(parser)
    parser.add_argument(
        "--timeout", type=duration_s, metavar="D", help="give up after this long, such as 10m"
    )


VERBS = (
    Verb(
        "run",
        "Run a command on the cluster and follow it",
        _run,
        text=HelpText(
            "Submit a job and follow it: its state and why it waits on standard error, what\n"
            "its tasks print on standard output. Exits as the job did. Ctrl-C leaves the\n"
            "job running and says how to come back.\n\n"
            "The -- before the command is required: everything after it is the command's,\n"
            "and no shell looks at it. With several tasks each line is behind [index].",
            usage="[options] -- COMMAND [ARG ...]",
            examples=(
                "iris job run -- python train.py --steps 100",
                "iris job run --replicas 4 --gang --cpu 2 --memory 8GiB -- ./worker",
                "iris job run --accelerator v5litepod-16 -- python train.py",
                "iris job run --accelerator v5litepod-16 --slices 2 -- python train.py",
                "iris job run -e WANDB_API_KEY -e MODE=fast -- python train.py",
                "id=$(iris job run --detach -- sleep 60)",
                "iris job run -- sh -c 'echo $IRIS_TASK_INDEX'",
            ),
            exits=(
                *_PROGRAM_EXITS,
                ("118", "the log stream broke, or standard output cannot be written; the job goes on"),
                ("130", "Ctrl-C: detached, the job goes on"),
            ),
        ),
    ),
    Verb(
        "list",
        "List jobs, newest first, and why they wait",
        _list,
        text=HelpText(
            "List jobs, newest first, with the reason for the state that each is in.",
            examples=("iris job list", "iris job list --active -o wide", "iris job list -o json"),
        ),
    ),
    Verb(
        "show",
        "Show one job, its tasks and how they ended",
        _id,
        text=HelpText(
            "Show one job: its state and why, its tasks, where they ran and how they ended.",
            examples=("iris job show ID", "iris job show ID -o json"),
            exits=(("3", "there is no such job"),),
        ),
    ),
    Verb(
        "logs",
        "Print what a job's tasks wrote",
        _logs,
        text=HelpText(
            "Print what a job's tasks wrote to standard output and standard error, byte for\n"
            "byte; with several tasks each line is behind [index]. With -f it stays until\n"
            "the job has ended, and goes on where it was after a broken connection.",
            examples=(
                "iris job logs ID",
                "iris job logs -f --tail 20 ID",
                "iris job logs --task 3 ID > task3.log",
            ),
            exits=(
                ("3", "there is no such job"),
                ("8", "the stream broke before its end; what was printed is not all"),
                ("118", "with -f: standard output cannot be written; the job goes on"),
            ),
        ),
    ),
    Verb(
        "wait",
        "Wait until a job has ended, and exit as it did",
        _wait,
        text=HelpText(
            "Wait until a job has ended, and exit as `iris job run` would have.",
            examples=("iris job wait ID", "iris job wait --timeout 1h ID"),
            exits=(
                *_PROGRAM_EXITS,
                ("113", "there is no such job"),
                ("117", "the job had not ended after --timeout"),
                ("118", "the stream broke, or standard output cannot be written"),
            ),
        ),
    ),
    Verb(
        "stop",
        "Stop a job and everything that it started",
        _id,
        text=HelpText(
            "Stop a job: its tasks get SIGTERM, and SIGKILL after their grace period. Returns\n"
            "when the controller has taken it down; `iris job wait ID` waits for the end.",
            examples=("iris job stop ID",),
            exits=(("3", "there is no such job"),),
        ),
    ),
)
