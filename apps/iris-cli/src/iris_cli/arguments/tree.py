"""The tree of commands: which verbs each noun has, and parsers for any part.

Only the modules of the noun in question are imported.
"""

import argparse

from iris_cli.arguments.spec import Parser, Verb, add_global_options, nearest, verb_parser
from iris_cli.exits import USAGE, CliError

# In the order of the help; the empty noun stands for commands of one word.
NOUNS = {
    "cluster": "Bring a cluster up, look at it, take it down",
    "config": "Read, check and explain a cluster's configuration",
    "job": "Submit work and learn what became of it",
    "group": "Scale groups: slices of one shape from one provider",
    "slice": "Slices: machines that live and die together",
    "worker": "Workers: the machines themselves",
    "": "",
}


def verbs_of(noun: str) -> dict[str, Verb]:
    """The verbs of a noun by name; `noun` is a key of `NOUNS`."""
    verbs: tuple[Verb, ...]
    if noun == "cluster":
        from iris_cli.arguments import cluster

        verbs = cluster.VERBS
    elif noun == "config":
        from iris_cli.arguments import config

        verbs = config.VERBS
    elif noun == "job":
        from iris_cli.arguments import job

        verbs = job.VERBS
    elif noun:
        from iris_cli.arguments import fleet

        verbs = fleet.VERBS[noun]
    else:
        from iris_cli.arguments import single

        verbs = single.VERBS
    return {verb.name: verb for verb in verbs}


def all_commands() -> list[tuple[str, Verb]]:
    """Every (noun, verb) there is, in the order of the help."""
    return [(noun, verb) for noun in NOUNS for verb in verbs_of(noun).values()]


def noun_help(noun: str) -> str:
    """What `iris NOUN --help` prints."""
    verbs = verbs_of(noun)
    width = max(len(name) for name in verbs)
    rows = "\n".join(f"  {name:<{width}}  {verb.summary}" for name, verb in verbs.items())
    return (
        f"usage: iris {noun} COMMAND ...\n\n{NOUNS[noun]}.\n\ncommands:\n{rows}\n\n"
        f"`iris {noun} COMMAND --help` says more about each.\n"
    )


def unknown_command(words: list[str]) -> CliError:
    """The error for words that name no command, with the nearest that do."""
    noun, verb = (*words, "")[:2]
    if noun in NOUNS and noun:
        near = nearest(verb, verbs_of(noun))
        full, known = f"{noun} {verb}", ", ".join(verbs_of(noun))
        suggestion = f"{noun} {near}" if near else ""
        hint = f"{noun} has: {known}"
    else:
        singles = verbs_of("")
        full = noun
        suggestion = nearest(noun, [*filter(None, NOUNS), *singles]) or _noun_of(noun)
        hint = "see: iris --help"
    meant = f"; did you mean: iris {suggestion}?" if suggestion else ""
    return CliError(USAGE, f"there is no command {full!r}{meant}", hint=hint)


def _noun_of(word: str) -> str:
    """`run` alone probably means `job run`."""
    for noun, verb in all_commands():
        if noun and verb.name == word:
            return f"{noun} {word}"
    return ""


def build_parser() -> Parser:
    """The parser of everything, for man pages and completion.

    A command line is parsed by its verb's own parser, which costs a fraction.
    """
    parser = Parser("iris", description=DESCRIPTION, epilog=EPILOG)
    add_global_options(parser)
    parser.add_argument(
        "-V", "--version", action="version", version="iris", help="print the version and exit"
    )
    nouns = parser.add_subparsers(metavar="COMMAND", parser_class=argparse.ArgumentParser)
    for noun, summary in NOUNS.items():
        if not noun:
            verbs = nouns
        else:
            below = nouns.add_parser(noun, help=summary, description=f"{summary}.", add_help=False)
            verbs = below.add_subparsers(metavar="COMMAND")
        for verb in verbs_of(noun).values():
            _add_whole(verbs, noun, verb)
    return parser


def _add_whole(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", noun: str, verb: Verb) -> None:
    model = verb_parser(noun, verb)
    verbs.add_parser(
        verb.name,
        help=verb.summary,
        description=model.description,
        epilog=model.epilog,
        usage=model.usage,
        parents=[model],
        add_help=False,
        formatter_class=model.formatter_class,
        prog=model.prog,
    )


DESCRIPTION = """\
Elastic clusters for machine-learning teams: one file names the machines, one
command brings them up, jobs run on them, and one command takes it all down
again and proves it."""

EPILOG = """\
a first session:
  iris cluster start --config demo.yaml
  iris job run -- echo hello
  iris --cluster demo cluster stop

exit status:
  0 done   1 failed   2 usage or configuration   3 not found   4 not allowed
  5 controller unreachable   6 something is left over, or changes are pending
  7 timed out   8 stream broken   (job run and wait: the program's own)

environment:
  IRIS_CONFIG  the configuration, where neither --config nor --cluster is given;
               after that, the cluster that was started last
  IRIS_RECONNECT_TIMEOUT  how long a broken connection is tried again while
               following (default: 60s)
  IRIS_DEBUG   a trace with every error, like -v -v
  NO_COLOR     no colours

`iris COMMAND --help` says more about each command."""


def top_level_help() -> str:
    """What `iris --help` prints; kept in `_help_text`, which is made from it."""
    commands = [(" ".join(filter(None, (noun, verb.name))), verb) for noun, verb in all_commands()]
    width = max(len(name) for name, _ in commands)
    rows = "\n".join(f"  {name:<{width}}  {verb.summary}" for name, verb in commands)
    return (
        "usage: iris [--config FILE | --cluster NAME] [-o FORMAT] [-v] COMMAND ...\n\n"
        f"{DESCRIPTION}\n\ncommands:\n{rows}\n\n{_options_help()}\n{EPILOG}\n"
    )


def _options_help() -> str:
    import textwrap

    # Laid out here, since argparse's layout differs between Python versions and
    # the text is generated once.
    rows = ["global options (before or after the command):"]
    for action in add_global_options(Parser("iris")):
        flags = ", ".join(action.option_strings)
        name = f"{flags} {action.metavar}" if action.metavar else flags
        first, *more = textwrap.wrap(action.help or "", width=52)
        rows.append(f"  {name:<22}  {first}")
        rows.extend(f"{'':26}{line}" for line in more)
    rows.append(f"  {'-V, --version':<22}  print the version of iris and exit")
    return "\n".join(rows) + "\n"
