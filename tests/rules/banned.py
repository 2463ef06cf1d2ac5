"""What the house does not write, and what it writes instead.

Reads syntax, not text: a name is followed through the imports of its module,
and what stands in a string does not count.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tests.rules.project import Finding

LIBRARIES = ("libs/",)
CONTROLLER = ("apps/iris-controller/src/",)
AGENT = ("apps/iris-bootstrap/src/",)
EVERYWHERE = ("libs/", "apps/")


@dataclass(frozen=True)
class Ban:
    """A name that must not be called, or a clause that must not be written."""

    what: str  # covers the names below it too: `random` stands for `random.choice`
    instead: str
    inside: tuple[str, ...] = EVERYWHERE
    # Where it is right after all, and why. One that is no longer needed has to go.
    except_in: Mapping[str, str] = field(default_factory=dict)


BANNED = [
    Ban("time.sleep", "wait, with a deadline, on what should happen"),
    Ban("datetime.datetime.now", "take `now` as an argument"),
    Ban("datetime.datetime.utcnow", "take `now` as an argument"),
    Ban("datetime.datetime.today", "take `now` as an argument"),
    Ban("datetime.date.today", "take `now` as an argument"),
    Ban("os.system", "subprocess.run with a list and a timeout"),
    Ban("os.popen", "subprocess.run with a list and a timeout"),
    Ban("shell=True", "a list of arguments"),
    Ban("except:", "name the errors that you can answer"),
    Ban(
        "except Exception",
        "name the errors that you can answer",
        except_in={
            "apps/iris-cli/src/iris_cli/dispatch.py": "the catch-all around a command",
            "apps/iris-cli/src/iris_cli/follow/together.py": "raises it again in the thread that reports",
            "apps/iris-controller/src/iris_controller/shell/perform.py": "the catch-all around an effect",
            "libs/iris-platform/src/iris_platform/manual/connections.py": "raised again by all who wait",
            "libs/iris-platform/src/iris_platform/ssh/fan_out.py": "raises it again in the thread that asked",
        },
    ),
    Ban("random", "take the number as an argument; the shell draws it", inside=LIBRARIES + CONTROLLER),
    Ban("print", "log it, or return it to whoever prints", inside=LIBRARIES + CONTROLLER + AGENT),
    Ban("# type: ignore", "name the error: `# type: ignore[code]`"),
]


def breaches(path: str, source: str) -> list[tuple[Ban, Finding]]:
    """What in `source` is banned at `path`, allowed there or not."""
    return [
        (ban, Finding(f"{path}:{line}", what, ban.instead))
        for line, what in sorted(uses(source))
        for ban in BANNED
        if path.startswith(ban.inside) and (what == ban.what or what.startswith(ban.what + "."))
    ]


def allowed(ban: Ban, finding: Finding) -> bool:
    return finding.where.startswith(tuple(ban.except_in))


def uses(source: str) -> Iterator[tuple[int, str]]:
    """The line and the name of everything that a ban could be about."""
    tree = ast.parse(source)
    imports = imported_names(tree)
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=func, keywords=keywords):
                if name := full_name(func, imports):
                    yield node.lineno, name
                if any(k.arg == "shell" and getattr(k.value, "value", None) is True for k in keywords):
                    yield node.lineno, "shell=True"
            case ast.ExceptHandler(body=[*_, ast.Raise(exc=None)]):
                pass  # cleans up, and hands everything on
            case ast.ExceptHandler(type=None):
                yield node.lineno, "except:"
            case ast.ExceptHandler(type=ast.expr() as caught):
                names = {n.id for n in ast.walk(caught) if isinstance(n, ast.Name)}
                if names & {"Exception", "BaseException"}:
                    yield node.lineno, "except Exception"
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and re.search(r"type: ignore(?!\[)", token.string):
            yield token.start[0], "# type: ignore"


def imported_names(tree: ast.Module) -> dict[str, str]:
    """What each name that is bound by an import stands for."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=aliases):
                for alias in aliases:
                    top = alias.name.partition(".")[0]
                    names[alias.asname or top] = alias.name if alias.asname else top
            case ast.ImportFrom(module=str(module), names=aliases):
                names |= {alias.asname or alias.name: f"{module}.{alias.name}" for alias in aliases}
    return names


def full_name(node: ast.expr, imports: Mapping[str, str]) -> str | None:
    """`sleep` -> `time.sleep` after `from time import sleep`; None where no import explains it."""
    match node:
        case ast.Name(id=name):
            return imports.get(name, name)
        case ast.Attribute(value=ast.Name(id=name), attr=attribute):
            return f"{imports[name]}.{attribute}" if name in imports else None
        case ast.Attribute(value=value, attr=attribute):
            above = full_name(value, imports)
            return above and f"{above}.{attribute}"
    return None
