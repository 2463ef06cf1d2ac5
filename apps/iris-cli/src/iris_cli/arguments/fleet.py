"""`iris group`, `iris slice`, `iris worker`: what the cluster has."""

import argparse

from iris_cli.arguments.spec import HelpText, Verb


def _nothing(parser: argparse.ArgumentParser) -> None:
    pass


def _slices(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", help="those that are gone too")


VERBS = {
    "group": (
        Verb(
            "list",
            "List scale groups, and what the autoscaler wants of each",
            _nothing,
            text=HelpText(
                "List scale groups: how many slices each has and wants, within which limits, and\n"
                "why it can or cannot get more.",
                examples=("iris group list", "iris group list -o json"),
            ),
        ),
    ),
    "slice": (
        Verb(
            "list",
            "List slices, their states and reasons",
            _slices,
            text=HelpText(
                "List slices: the machines that live and die together, with state and reason.",
                examples=("iris slice list", "iris slice list --all -o wide"),
            ),
        ),
    ),
    "worker": (
        Verb(
            "list",
            "List workers, what they offer and what is used",
            _nothing,
            text=HelpText(
                "List workers, one for each machine: its state, what it offers, what is used.",
                examples=("iris worker list", "iris worker list -o json"),
            ),
        ),
    ),
}
