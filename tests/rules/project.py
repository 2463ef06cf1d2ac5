"""What the house rules look at: the files of this repository, as git knows them."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True)
class Finding:
    """One breach of a rule, and what to do instead."""

    where: str  # PATH or PATH:LINE
    what: str
    instead: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}; instead: {self.instead}"


def project_files() -> dict[str, Path]:
    """Every file that is committed or about to be, by its path from the root."""
    # A checkout that belongs to somebody else, as in a container, is still this one.
    git = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"]
    listing = subprocess.run(
        [*git, "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    paths = {name: ROOT / name for name in listing.stdout.split("\0") if name}
    return {name: path for name, path in sorted(paths.items()) if path.is_file()}


def python_files() -> dict[str, str]:
    """The source of every Python file that people write, by its path from the root."""
    return {
        name: path.read_text()
        for name, path in project_files().items()
        if (name.endswith(".py") or name == "dev") and "_pb2" not in name
    }


def report(findings: list[Finding]) -> str:
    return "\n" + "\n".join(map(str, findings))
