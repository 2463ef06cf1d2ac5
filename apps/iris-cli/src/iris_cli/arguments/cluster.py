"""`iris cluster …`: bring a cluster up, look at it, take it down."""

import argparse

from iris_cli.arguments.spec import HelpText, Verb


def _start(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--local",
        action="store_true",
        help="rehearse it: another cluster, NAME-local, of the same groups, all of"
        " them agents on this machine; every command reaches it by --cluster NAME-local",
    )
    _add_directories(parser)


def _status(parser: argparse.ArgumentParser) -> None:
    pass


def _stop(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--zone",
        action="append",
        default=[],
        metavar="ZONE",
        dest="zones",
        help="only this zone; may be given several times",
    )
    parser.add_argument("--dry-run", action="store_true", help="show what would be deleted")
    parser.add_argument("--local", action="store_true", help="stop the rehearsal, not the cluster itself")
    parser.add_argument(
        "-y",
        "--yes",
        action="store_true",
        help="do not ask; needed where there is no terminal, and not enough for a"
        " cluster that is only the last one started: name it with --cluster",
    )
    parser.add_argument(
        "--cluster-id",
        action="append",
        default=[],
        metavar="ID",
        dest="cluster_ids",
        help="also what carries this id, where its keys were lost",
    )
    _add_directories(parser)


def _add_directories(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--state-dir",
        metavar="DIR",
        help="the controller's state (default: $XDG_STATE_HOME/iris/NAME)",
    )
    parser.add_argument(
        "--pki-dir",
        metavar="DIR",
        help="the cluster's identity and keys (default: $XDG_STATE_HOME/iris-pki/NAME)",
    )


VERBS = (
    Verb(
        "start",
        "Bring the cluster up; harmless when it is up already",
        _start,
        text=HelpText(
            "Start the cluster's controller and return when the next command will work.\n"
            "A controller that runs with the same configuration is left alone; with another\n"
            "configuration the difference is shown and nothing is changed.",
            examples=(
                "iris cluster start --config demo.yaml",
                "iris --cluster demo cluster start",
                "iris cluster start --config production.yaml --local",
            ),
            exits=(
                ("0", "the cluster is up"),
                ("1", "the controller did not come up; the end of its log is printed"),
                ("2", "the configuration is wrong; every problem is printed"),
                ("6", "it runs with another configuration, or is being stopped"),
            ),
        ),
    ),
    Verb(
        "status",
        "Show the controller, its groups and what needs attention",
        _status,
        text=HelpText(
            "Show whether the cluster is well: its controller, its scale groups, how many\n"
            "jobs wait and run, and what needs an operator's eye.",
            examples=("iris cluster status", "iris cluster status -o json"),
            exits=(("5", "the controller does not answer; the message says what to do"),),
        ),
    ),
    Verb(
        "stop",
        "Delete every slice and stop the controller, with proof",
        _stop,
        text=HelpText(
            "Delete the cluster's slices in every zone, stop its controller, and list all\n"
            "zones again to prove that nothing is left. Jobs that have not ended are kept\n"
            "for the next start. Works without a live controller, and works twice. What\n"
            "will be deleted is shown first.",
            examples=(
                "iris --cluster demo cluster stop --dry-run",
                "iris --cluster demo cluster stop",
                "iris --cluster demo cluster stop -y",
                "iris --cluster demo-local cluster stop",
            ),
            exits=(
                ("0", "nothing is left"),
                ("6", "something is left; it is named, with the command that removes it"),
            ),
        ),
    ),
)
