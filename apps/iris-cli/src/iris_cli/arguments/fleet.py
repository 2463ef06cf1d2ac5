"""`iris group`, `iris slice`, `iris worker`: what the cluster has."""

import argparse

from iris_cli.arguments.quantities import not_negative
from iris_cli.arguments.spec import HelpText, Verb


def _nothing(parser: argparse.ArgumentParser) -> None:
    pass


def _slices(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", help="those that are gone too")


def _worker(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "place",
        metavar="SLICE/INDEX",
        help="the worker's slice and its index there; SLICE alone where that has one host",
    )
    parser.add_argument(
        "index",
        nargs="?",
        type=not_negative,
        metavar="INDEX",
        help="the index as a word of its own, as `iris worker list` prints it",
    )


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
        Verb(
            "show",
            "Show one worker, its tasks, and its bootstrap log",
            _worker,
            text=HelpText(
                "Show one worker: its fields, the tasks that it has, what happened to it and its\n"
                "slice, and the bootstrap log: the end of what its agent said on that host or,\n"
                "where the agent did not start, of what its start said. A host of a slice whose\n"
                "agent has not come yet is shown too, with the slice's state.\n\n"
                "The log is fetched from the host. Where that cannot be had the reason stands in\n"
                "its place, and everything else is shown.",
                examples=(
                    "iris worker show iris-hl7cnupq3m-boxes-1764240000000-1/0",
                    "iris worker show SLICE INDEX -o json",
                ),
                exits=(("3", "there is no such worker, nor such a host of a slice"),),
            ),
        ),
    ),
}
