"""Standard streams that were closed before the start."""

import subprocess
import sys

PROGRAM = """
import os, sys
from iris_platform.streams import open_missing_streams
open_missing_streams()
opened = os.open("/", os.O_RDONLY)
sys.stderr.write("swallowed\\n")
sys.exit(opened > 2 and all(os.get_inheritable(n) for n in range(3)) and sys.stdin.read() == "")
"""


def test_no_file_gets_the_number_of_a_stream() -> None:
    for closed in ("<&-", "2>&-", "<&- >&- 2>&-", ""):
        command = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-c", PROGRAM]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, timeout=60, check=False)
        assert done.returncode == 1, closed
