"""Puts the manual page and the shell completion of an executable into its wheel.

The build hook of every application: `apps/*/hatch_build.py` are links to this
file, and an sdist has a copy, so that it builds alone. Which parser, and what
the parser does not know, is in `pyproject.toml`. A parser's module is imported
from the sources alone, so it must need nothing but the standard library.
"""

import argparse
import importlib
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

EXAMPLES = ("examples", "a first session")
# Where a shell looks for the completion of a program, below the prefix.
SHELLS = {
    "bash": "share/bash-completion/completions/{}",
    "zsh": "share/zsh/site-functions/_{}",
    "fish": "share/fish/vendor_completions.d/{}.fish",
}
# How the command behind `--` is completed: as it would be at the beginning of a line.
COMMAND = {
    "bash": "_shtab_dashes",
    "zsh": "_shtab_behind_dashes",
    "fish": "(_shtab_behind_dashes)",
    "preamble": {
        "bash": '_shtab_dashes() { compgen -W "--" -- "$1"; }',
        "zsh": """\
_shtab_behind_dashes() {
  if (( CURRENT == 1 )); then compadd -- --; return; fi
  shift words; (( CURRENT-- ))
  _normal
}""",
        "fish": """\
function _shtab_behind_dashes
  set -l words (commandline -opc)
  if set -l at (contains -i -- -- $words)
    set -e words[1..$at]
    complete -C (string join ' ' -- (string escape -- $words) (commandline -ct))
  else
    echo --
  end
end""",
    },
}
# Around what shtab makes for bash, which would look for options behind `--` as well.
BASH_WRAPPER = """
_NAME_behind_dashes() {
  local at delegate kind=file
  for ((at = 1; at < COMP_CWORD; at++)); do
    if [[ ${COMP_WORDS[at]} == -- ]]; then
      for delegate in _comp_command_offset _command_offset; do
        declare -F $delegate >/dev/null && { $delegate $((at + 1)); return; }
      done
      compopt -o filenames 2>/dev/null
      ((COMP_CWORD == at + 1)) && kind=command
      COMPREPLY=()
      while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -A $kind -- "$2")
      return
    fi
  done
  _shtab_NAME "$@"
}
complete -o bashdefault -F _NAME_behind_dashes NAME
"""

Parser = argparse.ArgumentParser


class ManualsHook(BuildHookInterface[Any]):
    """Called by hatchling for every sdist and wheel of an application."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name == "sdist":
            # Instead of the link, which would lead out of the archive.
            build_data["force_include"].pop(os.path.join(self.root, "hatch_build.py"), None)
            build_data["force_include"][os.path.realpath(__file__)] = "hatch_build.py"
        elif version != "editable":
            # An editable installation runs the sources as they are; a page from the day
            # on which it was installed would tell of other ones, and cost every `./dev setup`.
            self._house = tempfile.TemporaryDirectory()
            for place, text in self._texts().items():
                file = Path(self._house.name, place)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text, encoding="utf-8")
                build_data["shared_data"][str(file)] = place

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if hasattr(self, "_house"):
            self._house.cleanup()

    def _texts(self) -> dict[str, str]:
        """What the wheel gets, by its path below the prefix."""
        sys.path.insert(0, os.path.join(self.root, "src"))
        module, _, function = self.config["parser"].partition(":")
        build_parser: Callable[[], Parser] = getattr(importlib.import_module(module), function)
        name = build_parser().prog
        texts = {f"share/man/man1/{name}.1": self._page(build_parser())}
        for shell, place in SHELLS.items():
            texts[place.format(name)] = completion(build_parser(), shell)
        return texts

    def _page(self, parser: Parser) -> str:
        about = self.metadata.core.description
        also = ", ".join(rf"\fB{escaped(name)}\fR(1)" for name in self.config["see-also"])
        return manual_page(
            parser,
            about=about[0].lower() + about[1:],
            source=f"Iris {self.metadata.version}",
            files=tagged(self.config.get("files", {}).items()),
            see_also=also,
        )


def manual_page(parser: Parser, *, about: str, source: str, files: str, see_also: str) -> str:
    """One page with every command, since `man iris` is what people type and then search."""
    man = manpage(parser)
    man.description, man.source, man.manual = about, source, "Iris Manual"
    # None unless it is given: pages of the same sources have to be the same.
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    man.date = time.strftime("%Y-%m-%d", time.gmtime(int(epoch))) if epoch else ""
    rest, blocks = taken_apart(parser.epilog or "")
    man.add_section("synopsis", "=", synopsis(parser))
    man.add_section("description", "=", prose(parser.description, rest))
    verbs = list(commands(parser))
    if verbs:
        man.add_section("commands", "=", commands_section(parser, verbs))
    for title, lines in blocks.items():
        if title not in EXAMPLES:
            man.add_section(title, "=", rows(lines))
    if files:
        man.add_section("files", "=", files)
    for title in [title for title in EXAMPLES if title in blocks]:
        man.add_section("examples", "=", literally(blocks[title]))
    man.add_section("see also", "=", see_also)
    parser.description = parser.epilog = None
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            action.help = argparse.SUPPRESS  # they are in COMMANDS
        # argparse-manpage leaves an option of this name out; `cleaned` takes the mark away.
        action.option_strings = [word.replace("--help", "--help\0") for word in action.option_strings]
    return cleaned(str(man))


def manpage(parser: Parser) -> Any:
    # Not above: an editable installation has neither this nor shtab.
    from argparse_manpage.manpage import Manpage  # type: ignore[import-untyped]  # it has no types

    return Manpage(parser, format="single-commands-section")


def commands(parser: Parser) -> Iterator[tuple[Parser, str]]:
    """Every command that help shows, with its summary."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for choice in action._get_subactions():
                below = action.choices[choice.dest]
                yield from list(commands(below)) or [(below, choice.help or "")]


def commands_section(parser: Parser, verbs: list[tuple[Parser, str]]) -> str:
    width = max(len(verb.prog) for verb, _ in verbs) + 2
    known = {word for action in parser._actions for word in action.option_strings}
    lines = [".PD 0"]
    for verb, summary in verbs:
        lines += [f".TP {width}", rf"\fB{escaped(verb.prog)}\fR", escaped(summary)]
    lines.append(".PD")
    for verb, _ in verbs:
        for action in verb._actions:
            if known & set(action.option_strings):
                action.help = argparse.SUPPRESS  # a global option, shown once
        lines += [f".SS {escaped(verb.prog)}", *command_section(verb)]
    return "\n".join(lines)


def command_section(verb: Parser) -> list[str]:
    rest, blocks = taken_apart(verb.epilog or "")
    lines = [*synopsis(verb).splitlines(), ".PP", prose(verb.description, rest)]
    verb.description = verb.epilog = None
    options = manpage(verb).mf.format_parser(verb)
    lines += [line for line in options if line and not line.startswith(".SH")]
    for title, block in blocks.items():
        body = literally(block) if title in EXAMPLES else rows(block)
        lines += [".PP", f"{title[0].upper()}{escaped(title[1:])}:", ".RS 4", body, ".RE"]
    return lines


def synopsis(parser: Parser) -> str:
    """The usage, with options in bold, arguments in italics, and no break inside brackets."""
    usage = " ".join(parser.format_usage().partition(":")[2].split()).removeprefix(parser.prog)
    if not usage:
        return ""
    text = re.sub(r"(?<![\w-])--?[a-z][\w-]*", r"\\fB\g<0>\\fR", usage)
    text = re.sub(r"\b[A-Z][A-Z_]*\b", r"\\fI\g<0>\\fR", text)
    text = re.sub(r"\[[^][]*\]", lambda found: found[0].replace(" ", r"\ "), text)
    # A hanging paragraph whose tag is the program's name.
    return ".HP 4\n" + rf"\fB{escaped(parser.prog)}\fR{text.replace('-', chr(92) + '-')}"


def taken_apart(epilog: str) -> tuple[str, dict[str, list[str]]]:
    """The blocks of an epilog, a title and indented lines each, and the rest of it."""
    pattern = r"^(\S[^\n]*):\n((?:[ ]{2}[^\n]*(?:\n|\Z))+)"
    blocks = {title: block.splitlines() for title, block in re.findall(pattern, epilog, re.MULTILINE)}
    return re.sub(pattern, "", epilog, flags=re.MULTILINE).strip(), blocks


def rows(lines: Iterable[str]) -> str:
    """Lines of `  NAME  meaning`, or several of `0 meaning` in a line, as a list."""
    found: list[tuple[str, str]] = []
    after = []
    for line in lines:
        if re.match(r"  \d+ \S", line):
            for cell in re.split(r"\s{3,}", line.strip()):
                number, _, meaning = cell.partition(" ")
                if number.isdigit():
                    found.append((number, meaning))
                else:
                    after.append(cell.strip("()"))
        elif row := re.match(r"  (\S+(?: \S+)*)  +(\S.*)", line):
            found.append((row[1], row[2]))
        else:
            tag, meaning = found.pop() if found else ("", "")
            found.append((tag, f"{meaning} {line.strip()}"))
    lines = [".PD 0", tagged(found), ".PD"]
    return "\n".join([*lines, *(f".PP\n{escaped(text)}" for text in after)])


def tagged(pairs: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f".TP\n\\fB{escaped(tag)}\\fR\n{escaped(meaning)}" for tag, meaning in pairs)


def literally(lines: Iterable[str]) -> str:
    return "\n".join([".EX", *(escaped(line.removeprefix("  ")) for line in lines), ".EE"])


def prose(*texts: str | None) -> str:
    text = "\n\n".join(text.strip() for text in texts if text)
    return re.sub(r"\n\s*\n", "\n.PP\n", escaped(text))


def escaped(text: str) -> str:
    return text.replace("\\", r"\e").replace("-", r"\-")


def cleaned(page: str) -> str:
    """Without accidental requests, and with quotes that can be copied into a shell."""
    lines = []
    for line in page.replace("\0", "").splitlines():
        if not line:
            continue
        if line.startswith(("'", ".")) and not re.match(r"\.[A-Z][A-Z]\b", line):
            line = rf"\&{line}"
        for character, name in (("'", "aq"), ("`", "ga"), ("~", "ti"), ("^", "ha")):
            line = line.replace(character, rf"\({name}")
        lines.append(line)
        # No hyphenation, which breaks options too, and no gaps in lines.
        if line.startswith(".TH"):
            lines += [".nh", ".ad l"]
        elif line == ".EE":
            lines.append(".nh")  # it starts it again
    return "\n".join(lines) + "\n"


def completion(parser: Parser, shell: str) -> str:
    """What a shell needs to complete the options, choices and files of a program."""
    import shtab

    text = ""
    for below in [parser, *every_parser_below(parser)]:
        for action in below._actions:
            if isinstance(action, argparse._SubParsersAction):
                for choice in action._get_subactions():
                    action.choices[choice.dest].description = choice.help
            elif action.metavar in ("FILE", "DIR"):
                action.complete = getattr(shtab, action.metavar)  # type: ignore[attr-defined]  # shtab's own
            elif action.metavar == "COMMAND" and action.nargs == "*":
                action.nargs = argparse.REMAINDER
                action.complete = COMMAND  # type: ignore[attr-defined]  # shtab's own
                if shell == "bash":
                    text = BASH_WRAPPER.replace("NAME", parser.prog)
    return str(shtab.complete(parser, shell)) + text


def every_parser_below(parser: Parser) -> Iterator[Parser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from (below, *every_parser_below(below))
