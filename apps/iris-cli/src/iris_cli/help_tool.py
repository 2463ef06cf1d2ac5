"""Writes `_help_text.py` from the parsers: `python -m iris_cli.help_tool`.

A test fails when the file is stale.
"""

from pathlib import Path

from iris_cli.arguments.tree import top_level_help

TARGET = Path(__file__).with_name("_help_text.py")


def render_module() -> str:
    """The whole text of `_help_text.py`."""
    text = top_level_help()
    if '"""' in text or "\\" in text:
        raise ValueError("the help text cannot stand in a string as it is")
    return (
        '"""What `iris --help` prints. Made by `python -m iris_cli.help_tool`; do not edit."""\n\n'
        f'HELP = """\\\n{text}"""\n'
    )


if __name__ == "__main__":
    TARGET.write_text(render_module(), encoding="utf-8")
