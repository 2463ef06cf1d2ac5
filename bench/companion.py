"""A program of `bench/programs` in a process of its own, asked by lines of JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from bench.measure import WorkNotDone

PROGRAMS = Path(__file__).parent / "programs"
ENDING_S = 30.0


class Companion:
    """Runs while the block does; each question is a line, and so is each answer.

    Its own errors are in `NAME.log` in its directory.
    """

    def __init__(
        self,
        name: str,
        *arguments: str,
        home: Path,
        python: Path | None = None,
        environ: Mapping[str, str] | None = None,
        inside: Sequence[str] = (),
    ) -> None:
        """`inside` are the words of a program that runs it."""
        self._log = home / f"{name}.log"
        command = [*inside, str(python or sys.executable), str(PROGRAMS / f"{name}.py"), *arguments]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=home,
                env={**os.environ, **(environ or {})},
            )

    def __enter__(self) -> Companion:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._process.kill()
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        try:
            self._process.wait(ENDING_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def ask(self, question: object) -> Any:
        """One question, one answer.

        Raises:
            WorkNotDone: it died instead; the end of its log says why.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(question).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise self._died() from error
        line = self._process.stdout.readline()
        if not line:
            raise self._died()
        return json.loads(line)

    def _died(self) -> WorkNotDone:
        end = self._log.read_text(errors="replace")[-2_000:]
        return WorkNotDone(f"{self._log.stem} died:\n{end}")
