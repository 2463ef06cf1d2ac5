"""Wheels and bundles made up for tests, with a program that does as it is told."""

import base64
import csv
import hashlib
import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from iris_platform.bundle import Bundle, build_bundle
from iris_platform.bundle.archive import CHECKS

# A stand-in for the agent: `iris-bootstrap MODE WORK`. Notes each start in WORK/starts.
AGENT = """
import json, os, signal, socket, sys

def note(work, **facts):
    with open(os.path.join(work, "keeper.jsonl"), "a") as file:
        file.write(json.dumps(facts) + "\\n")

def start_time(pid):
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[19])

def main():
    mode, work = sys.argv[1:3]
    with open(os.path.join(work, "starts"), "a") as file:
        file.write(f"{os.getpid()}\\n")
    print("hello from", mode, flush=True)
    if mode == "unwanted":
        sys.exit(79)
    if mode == "crash":
        sys.exit("boom: no such thing")
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    if mode in ("serve", "orphan", "leave"):
        boot = open("/proc/sys/kernel/random/boot_id").read().strip() + f".{start_time(1)}"
        note(work, kind="boot", boot_id=boot, pid=os.getpid(), start_time=start_time(os.getpid()))
    if mode in ("orphan", "leave"):
        # Until the test has seen it well.
        with open(os.path.join(work, "go")) as gate:
            gate.read()
        note(work, kind="left", reason="orphan_timeout" if mode == "orphan" else "SIGTERM")
        sys.exit(0)
    if mode == "ready":
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
    signal.sigwait([signal.SIGTERM])
"""


def make_wheel(
    folder: Path,
    name: str,
    version: str = "1.0",
    *,
    tag: str = "py3-none-any",
    files: Mapping[str, str] | None = None,
    requires: Sequence[str] = (),
    script: tuple[str, str] | None = None,
) -> Path:
    """A wheel with a module of its own name, unless it is given `files`."""
    stem = f"{name.replace('-', '_')}-{version}"
    metadata = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", "Requires-Python: >=3.10"]
    members = dict(files or {f"{name.replace('-', '_')}.py": f"TAG = {tag!r}\n"})
    members[f"{stem}.dist-info/METADATA"] = "\n".join(
        [*metadata, *(f"Requires-Dist: {r}" for r in requires), ""]
    )
    members[f"{stem}.dist-info/WHEEL"] = f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n"
    if script:
        members[f"{stem}.dist-info/entry_points.txt"] = "[console_scripts]\n{} = {}\n".format(*script)
    record = io.StringIO()
    writer = csv.writer(record, lineterminator="\n")
    for member, text in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        writer.writerow([member, f"sha256={digest}", len(text)])
    members[f"{stem}.dist-info/RECORD"] = record.getvalue() + f"{stem}.dist-info/RECORD,,\n"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}-{tag}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for member, text in members.items():
            packed.writestr(zipfile.ZipInfo(member), text)
    return path


def make_agent(folder: Path, version: str = "1.0", requires: Sequence[str] = ()) -> Path:
    """The stand-in agent's wheel."""
    files = dict.fromkeys(("iris_bootstrap/keeper/__init__.py", "iris_bootstrap/session/__init__.py"), "")
    files |= _checked("iris-bootstrap")
    files["iris_bootstrap/__init__.py"] = f"__version__ = {version!r}\n"
    files["iris_bootstrap/main.py"] = AGENT
    script = ("iris-bootstrap", "iris_bootstrap.main:main")
    return make_wheel(folder, "iris-bootstrap", version, files=files, requires=requires, script=script)


def _checked(program: str) -> dict[str, str]:
    """The modules that a bundle checks; with nothing in them."""
    return {f"{module.replace('.', '/')}.py": "" for module in CHECKS[program]}


def make_controller(folder: Path) -> Path:
    """The same program as a controller."""
    files = {"iris_controller/__init__.py": "", "iris_controller/main.py": AGENT}
    files |= _checked("iris-controller")
    script = ("iris-controller", "iris_controller.main:main")
    return make_wheel(folder, "iris-controller", files=files, script=script)


def make_bundle(folder: Path, version: str = "1.0") -> Bundle:
    """A bundle of a few kilobytes with both programs."""
    wheels = folder / f"wheels-{version}"
    return build_bundle([make_agent(wheels, version), make_controller(wheels)], folder / "bundles")
