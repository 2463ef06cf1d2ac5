"""Commands that are one word: `iris doctor`, `iris events`, `iris version`."""

import argparse

from iris_cli.arguments.spec import HelpText, Verb


def _doctor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", nargs="?", metavar="FILE", help="the file to check; default: the cluster's configuration"
    )


def _events(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what happens, until Ctrl-C")


def _version(parser: argparse.ArgumentParser) -> None:
    pass


VERBS = (
    Verb(
        "doctor",
        "Check all that a start needs, and say what to fix",
        _doctor,
        text=HelpText(
            "Check, before anything is started, what the configuration needs: itself, this\n"
            "machine (directories, disk, ports), and every manual host: SSH and its host key,\n"
            "Python, disk, clock, whose it is, and whether it reaches the controller's machine.\n"
            "Where that is a host too, its directories and ports, and whether it reaches the\n"
            "others. A line for each check that is done, with what to do; on a terminal a table\n"
            "of all of them follows. Nothing is left anywhere, and no host key is pinned.",
            examples=("iris doctor boxes.yaml", "iris --cluster boxes doctor -o wide"),
            exits=(
                ("0", "all is well, perhaps with warnings"),
                ("1", "a check failed"),
                ("2", "the configuration is wrong"),
            ),
        ),
    ),
    Verb(
        "events",
        "Show what happened and what was decided, oldest first",
        _events,
        text=HelpText(
            "Show what happened in the cluster and what was decided, oldest first: every\n"
            "state that was entered, with its reason.",
            examples=("iris events", "iris events --follow", "iris events --follow -o json"),
        ),
    ),
    Verb(
        "version",
        "Print the version of this program",
        _version,
        text=HelpText(
            "Print the version of this program and of the Python that runs it; that of the\n"
            "controller is in `iris cluster status`.",
        ),
    ),
)
