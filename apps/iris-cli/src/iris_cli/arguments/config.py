"""`iris config`: the configuration's file, its shape and its words. No cluster is asked."""

import argparse

from iris_cli.arguments.spec import HelpText, Verb


def _validate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help="the files to check, - for standard input; default: the cluster's configuration",
    )
    parser.add_argument("--strict", action="store_true", help="fail where there are warnings, too")


def _show(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", nargs="?", metavar="FILE", help="the file to show; default: the cluster's configuration"
    )
    parser.add_argument("--diff", metavar="FILE", help="instead, what is different in this file, by meaning")


def _schema(parser: argparse.ArgumentParser) -> None:
    pass


def _accelerators(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "types", nargs="*", metavar="TYPE", help="only this type, or all of this generation; default: all"
    )
    parser.add_argument("--zone", metavar="ZONE", help="only those that are known to be offered there")


VERBS = (
    Verb(
        "validate",
        "Check a configuration and say everything that is wrong",
        _validate,
        text=HelpText(
            "Check configuration files. Every problem is a line on standard output,\n"
            "`FILE:LINE:COLUMN: error: FIELD: ...`, in the order of the file, all of them at\n"
            "once; what works and is probably not meant is a warning. Nothing is started and\n"
            "nobody is asked.",
            examples=("iris config validate demo.yaml", "iris --config demo.yaml config validate --strict"),
            exits=(("0", "valid, perhaps with warnings"), ("2", "there are errors (--strict: or warnings)")),
        ),
    ),
    Verb(
        "show",
        "Show every value in effect and where it came from",
        _show,
        text=HelpText(
            "Show the configuration as a controller would be given it: fleets written out as\n"
            "scale groups, variables replaced, defaults filled in; and of each value where it\n"
            "came from: a line of the file, a variable, a default. What a name says is secret\n"
            "is not shown. --diff FILE shows instead what is different in that file, however\n"
            "it is written.",
            examples=(
                "iris config show demo.yaml",
                "iris config show demo.yaml --diff new.yaml",
            ),
            exits=(("2", "the configuration is wrong"), ("6", "with --diff: there are differences")),
        ),
    ),
    Verb(
        "schema",
        "Print the JSON Schema of the configuration, for editors",
        _schema,
        text=HelpText(
            "Print the JSON Schema of configuration files: every field with its type and its\n"
            "meaning. Editors that know it complete, explain and check a file while it is\n"
            "written. It needs neither a cluster nor a configuration.",
            examples=("iris config schema > config.schema.json",),
        ),
    ),
    Verb(
        "accelerators",
        "List the TPU types with their hosts and topologies",
        _accelerators,
        text=HelpText(
            "List the TPU types that `accelerator_type` may name, with the chips and hosts\n"
            "that a slice of each has. -o wide adds what one host offers, the software that\n"
            "is its default, and the zones where the generation is known to be offered;\n"
            "Google opens zones before this list hears of them.",
            examples=(
                "iris config accelerators v5e",
                "iris config accelerators v5litepod-16 -o wide",
                "iris config accelerators --zone europe-west4-b -o json",
            ),
            exits=(("2", "there is no such type"),),
        ),
    ),
)
