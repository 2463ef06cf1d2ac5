"""Commands that are one word: `iris events`, `iris version`."""

import argparse

from iris_cli.arguments.spec import HelpText, Verb


def _events(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what happens, until Ctrl-C")


def _version(parser: argparse.ArgumentParser) -> None:
    pass


VERBS = (
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
