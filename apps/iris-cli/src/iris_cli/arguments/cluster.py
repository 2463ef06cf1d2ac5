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
    parser.add_argument("--dry-run", action="store_true", help="show what would be done")
    _add_directories(parser)


def _nothing(parser: argparse.ArgumentParser) -> None:
    pass


def _stop(parser: argparse.ArgumentParser) -> None:
    _add_zones(
        parser, "only this zone, which then stays empty until the next start; may be given several times"
    )
    parser.add_argument(
        "--controller",
        action="store_true",
        help="with --zone: stop the controller too, although slices are left elsewhere",
    )
    parser.add_argument("--dry-run", action="store_true", help="show what would be deleted")
    parser.add_argument(
        "--forget",
        action="store_true",
        help="also remove the controller's state and keys, and with them the jobs that have not ended",
    )
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


def _gc(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--delete", action="store_true", help="remove what has no owner; asks first")
    _add_zones(parser, "only this zone; may be given several times")
    parser.add_argument(
        "-y", "--yes", action="store_true", help="do not ask; needed where there is no terminal"
    )


def _add_zones(parser: argparse.ArgumentParser, words: str) -> None:
    parser.add_argument("--zone", action="append", default=[], metavar="ZONE", dest="zones", help=words)


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
        _nothing,
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
    Verb(
        "restart",
        "Stop the controller and start it again; tasks go on",
        _nothing,
        text=HelpText(
            "Start the controller anew with the configuration as it is now, for instance after\n"
            "an upgrade. The slices and what runs on them are left alone, and found again.",
            examples=("iris cluster restart", "iris --cluster demo cluster restart"),
            exits=(("1", "the controller did not come up; the end of its log is printed"),),
        ),
    ),
    Verb(
        "tunnel",
        "Hold the way to a controller on another machine open",
        _nothing,
        text=HelpText(
            "Connect to the controller's host over SSH and stay. Other commands on this machine\n"
            "use that connection as long as it is there, and need no handshake of their own.\n"
            "The address that it prints takes the operator's certificate, as any other does.",
            examples=("iris --cluster demo cluster tunnel",),
            exits=(("5", "the host cannot be reached, or the connection broke"),),
        ),
    ),
    Verb(
        "login",
        "Get a certificate for a cluster that others started",
        _nothing,
        text=HelpText(
            "Get an operator's certificate from the controller's host, over SSH: whoever may log\n"
            "in there as the configuration says is an operator. Certificates live a week, and are\n"
            "renewed by use.",
            examples=("iris cluster login --config demo.yaml",),
            exits=(("1", "the host does not let you in, or has no controller of this cluster"),),
        ),
    ),
    Verb(
        "gc",
        "Find what carries the cluster's identity and has no owner",
        _gc,
        text=HelpText(
            "List every zone and name the slices that carry this cluster's identity and that its\n"
            "controller does not know, such as those of a controller whose state was lost. The\n"
            "controller adopts or deletes them by its own careful rules; with --delete it is done\n"
            "now, and followed until they are gone.",
            examples=("iris --cluster demo cluster gc", "iris --cluster demo cluster gc --delete"),
            exits=(
                ("0", "nothing is without an owner"),
                ("5", "the controller does not answer, and only it knows"),
                ("6", "something is, or a zone could not be listed; it is named"),
            ),
        ),
    ),
)
