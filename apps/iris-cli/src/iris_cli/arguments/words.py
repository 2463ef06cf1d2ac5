"""Finds the noun and the verb among the words of a command line.

Global options may stand anywhere, so the words before the verb are kept and
handed to the verb's parser with the rest.
"""

from iris_cli.arguments.tree import NOUNS, unknown_command, verbs_of
from iris_cli.exits import USAGE, CliError

# Options whose value is the next word, where they stand before the verb.
_WITH_VALUE = frozenset({"--config", "--cluster", "-o", "--output", "--state-dir", "--pki-dir"})
_HELP = frozenset({"-h", "--help"})
_VERSION = frozenset({"-V", "--version"})


class Words:
    """A command line taken apart.

    `verb` is empty where only help is wanted. `command` is what follows `--`,
    and None where there was none.
    """

    __slots__ = ("command", "noun", "options", "verb")

    def __init__(self, noun: str, verb: str, options: list[str], command: list[str] | None = None) -> None:
        self.noun = noun
        self.verb = verb
        self.options = options
        self.command = command


def split_words(argv: list[str]) -> Words:
    """Take a command line apart.

    Raises:
        CliError: there is no such command, or none was given.
    """
    names: list[str] = []
    options: list[str] = []
    rest = list(argv)
    while rest and rest[0] != "--" and not _complete(names):
        word = rest.pop(0)
        if word in _WITH_VALUE and rest:
            options += [word, rest.pop(0)]
        elif word.startswith("-"):
            options.append(word)
        else:
            names.append(word)
    if names[:1] == ["help"]:
        # `iris help job run` is `iris job run --help`.
        return split_words([*names[1:], *options, *rest, "--help"])
    if not _complete(names):
        return _without_verb(names, options)
    noun, verb = names if len(names) == 2 else ("", names[0])
    if verb not in verbs_of(noun):
        raise unknown_command(names)
    if "--" in rest:
        cut = rest.index("--")
        return Words(noun, verb, options + rest[:cut], rest[cut + 1 :])
    return Words(noun, verb, options + rest)


def _complete(names: list[str]) -> bool:
    """Whether the names are all there; a first one that is no noun stands alone."""
    if names[:1] == ["help"]:
        return False
    return len(names) == 2 or (len(names) == 1 and names[0] not in _NOUN_WORDS)


_NOUN_WORDS = frozenset(noun for noun in NOUNS if noun)


def _without_verb(names: list[str], options: list[str]) -> Words:
    noun = names[0] if names else ""
    if _HELP & set(options):
        return Words(noun, "", options)
    if _VERSION & set(options) and not noun:
        return Words("", "version", [word for word in options if word not in _VERSION])
    if noun:
        raise CliError(
            USAGE,
            f"{noun} needs a command: {', '.join(verbs_of(noun))}",
            hint=f"see: iris {noun} --help",
        )
    raise CliError(USAGE, "a command is missing", hint="see: iris --help")
