"""No file knows the machine that it was written on, or where packages come from."""

import re

import pytest

from tests.rules.project import Finding, project_files, report

NOT_PORTABLE = {
    r"(?<![\w.}/-])/(?:work|root)/": "a path from the root of the repository",
    r"(?<![\w.}/-])/home/\w": "a path from the root of the repository, or `~`",
    r"\bpypi\.(?:org|python)|pythonhosted\.": "a name and a version in constraints.txt",
    r"\bindex[-_]url": "the settings of the machine that installs",
}


def not_portable(path: str, text: str) -> list[Finding]:
    return [
        Finding(f"{path}:{number}", found.group(), instead)
        for number, line in enumerate(text.splitlines(), start=1)
        for pattern, instead in NOT_PORTABLE.items()
        if (found := re.search(pattern, line))
    ]


def test_every_file_is_portable() -> None:
    texts = {path: file.read_text(errors="replace") for path, file in project_files().items()}
    findings = [finding for path, text in texts.items() for finding in not_portable(path, text)]
    assert not findings, report(findings)


@pytest.mark.parametrize(
    "words",
    [
        ("see ", "/work", "/main/dev"),
        ("see ", "/home", "/ada/iris"),
        ("HOME=", "/root", "/x"),
        ("https://pypi", ".org/simple"),
        ("--extra-index", "-url X"),
    ],
)
def test_a_bad_line_is_found(words: tuple[str, ...]) -> None:
    # In pieces, so that this file passes its own test.
    assert not_portable("a.md", "".join(words))


def test_a_good_line_is_not() -> None:
    assert not not_portable("a.md", "state/work/7 $HOME/work/x ~/iris http://127.0.0.1/")
