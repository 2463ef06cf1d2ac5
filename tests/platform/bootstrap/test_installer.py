"""The installer on a host: whole or not at all, whatever happens in between."""

import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from iris_platform.bundle import Bundle, build_bundle
from tests.platform.bootstrap.hosts import PYTHONS, eventually, find_python
from tests.platform.bootstrap.made import make_agent, make_bundle, make_wheel

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount and make namespaces")


def install(
    bundle: Bundle | Path,
    root: Path,
    python: Path | str = sys.executable,
    words: Sequence[str] = (),
    wrap: Sequence[str] = (),
) -> tuple[int, dict[str, Any]]:
    path = bundle if isinstance(bundle, Path) else bundle.path
    argv = [*wrap, str(python), "-I", "-S", str(path), "install", "--root", str(root), *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, env={"PATH": "/nowhere"})
    assert done.stderr == ""
    answer: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, answer


def run(where: Path, *words: str) -> str:
    # As a caller of the launcher does, with a PATH.
    argv = [str(where / "bin/iris-bootstrap"), *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=30).stdout


@pytest.mark.parametrize("version", PYTHONS)
def test_it_installs_what_fits_the_interpreter(version: str, tmp_path: Path) -> None:
    python = find_python(version)
    digits = version.replace(".", "")
    tags = [f"cp3{minor}-cp3{minor}-manylinux_2_17_{os.uname().machine}" for minor in (10, 11, 12, 13)]
    wheels = [make_agent(tmp_path, requires=["lib"]), *(make_wheel(tmp_path, "lib", tag=tag) for tag in tags)]
    wheels.append(make_wheel(tmp_path, "lib", tag="cp313-cp313-manylinux_2_17_riscv64"))
    status, answer = install(build_bundle(wheels, tmp_path), tmp_path / "root", python)
    assert (status, answer["status"]) == (0, "installed")
    where = Path(answer["path"])
    code = "import lib, sys; print(lib.TAG, [p for p in sys.path if 'packages' in p])"
    said = subprocess.run(
        [where / "bin/python3", "-c", code], capture_output=True, text=True, timeout=30
    ).stdout
    site = f"{where}/lib/python{version}/site-packages"
    assert said == f"cp{digits}-cp{digits}-manylinux_2_17_{os.uname().machine} {[site]}\n"
    assert oct((tmp_path / "root/bundles").stat().st_mode)[-3:] == "700"


@needs_root
def test_it_needs_no_network(tmp_path: Path, bundle: Bundle) -> None:
    status, answer = install(bundle, tmp_path, wrap=[shutil.which("unshare") or "", "--net"])
    assert (status, answer["status"]) == (0, "installed")


def test_a_finished_install_is_not_touched(tmp_path: Path, bundle: Bundle) -> None:
    _, answer = install(bundle, tmp_path)
    where = Path(answer["path"])
    before = {path: (path.lstat().st_ino, path.lstat().st_mtime_ns) for path in [where, *where.rglob("*")]}
    assert install(bundle, tmp_path) == (0, answer)
    assert {
        path: (path.lstat().st_ino, path.lstat().st_mtime_ns) for path in [where, *where.rglob("*")]
    } == before


def test_what_a_program_loads_is_compiled_and_nothing_else(tmp_path: Path) -> None:
    wheels = [make_agent(tmp_path, requires=["lib"]), make_wheel(tmp_path, "lib")]
    _, answer = install(build_bundle(wheels, tmp_path), tmp_path / "root")
    where = Path(answer["path"])
    compiled = {path: path.stat().st_mtime_ns for path in where.rglob("*.pyc")}
    names = {path.name.partition(".")[0] for path in compiled}
    assert {"boot", "join", "main"} < names and "lib" not in names
    # No start does it once more, and tracebacks show where the modules are.
    code = "from iris_bootstrap import main; print(main.main.__code__.co_filename)"
    done = subprocess.run([where / "bin/python3", "-c", code], capture_output=True, text=True, timeout=30)
    site = f"lib/python3.{sys.version_info.minor}/site-packages"
    assert done.stdout == f"{where}/{site}/iris_bootstrap/main.py\n"
    assert {path: path.stat().st_mtime_ns for path in where.rglob("*.pyc")} == compiled


def test_another_interpreter_installs_again(tmp_path: Path, bundle: Bundle) -> None:
    _, answer = install(bundle, tmp_path, find_python("3.10"))
    assert (Path(answer["path"]) / "lib/python3.10").is_dir()
    install(bundle, tmp_path, find_python("3.12"))
    assert [path.name for path in (Path(answer["path"]) / "lib").iterdir()] == ["python3.12"]


def test_kill_9_in_the_middle_leaves_nothing_that_counts(tmp_path: Path) -> None:
    # Large enough to be caught in the act.
    files = {f"lib/m{n}.py": f"x = {n}\n" * 200 for n in range(2000)}
    wheels = [make_agent(tmp_path, requires=["lib"]), make_wheel(tmp_path, "lib", files=files)]
    bundle = build_bundle(wheels, tmp_path)
    house = tmp_path / "root/bundles"
    argv = [sys.executable, "-I", "-S", str(bundle.path), "install", "--root", str(house.parent)]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, start_new_session=True) as victim:
        eventually(lambda: next(house.glob(".*.tmp/lib/*/site-packages/lib/m1*.py"), None) is not None)
        os.killpg(victim.pid, signal.SIGKILL)
    assert [path for path in house.iterdir() if path.name != ".lock" and not path.name.endswith(".tmp")] == []
    assert len(list(house.glob(".*.tmp"))) == 1
    status, answer = install(bundle, house.parent)
    assert (status, answer["status"]) == (0, "installed")
    assert not list(house.glob(".*.tmp"))
    assert len(list((Path(answer["path"])).glob("lib/*/site-packages/lib/*.py"))) == 2000


def install_on_small_disk(bundle: Path, root: Path) -> tuple[int, str, list[str]]:
    """Install onto 8 MiB; returns the status, the reason, and what was left of bundles."""
    root.mkdir()
    script = 'mount -t tmpfs -o size=8m tmpfs "$1" && "$2" -I -S "$3" install --root "$1"; c=$?; ls -A "$1/bundles"; exit $c'
    argv = ["unshare", "--mount", "sh", "-c", script, "sh", str(root), sys.executable, str(bundle)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    answer, *left = done.stdout.splitlines()
    return done.returncode, json.loads(answer)["reason"], left


@needs_root
def test_too_small_a_disk_is_said_beforehand(tmp_path: Path, bundle: Bundle) -> None:
    status, reason, left = install_on_small_disk(bundle.path, tmp_path / "root")
    assert (status, left) == (3, [".lock"])
    assert reason == f"not enough room at {tmp_path}/root/bundles: 16 MiB are needed, 8 MiB are free" or (
        "16 MiB are needed, 7 MiB are free" in reason
    )


@needs_root
def test_a_disk_that_fills_up_meanwhile_leaves_nothing(tmp_path: Path) -> None:
    files = {f"lib/data{n}": "x" * 4_000_000 for n in range(4)}
    wheels = [make_agent(tmp_path, requires=["lib"]), make_wheel(tmp_path, "lib", files=files)]
    bundle = build_bundle(wheels, tmp_path)
    # A manifest that promises less: as if others had written in the meantime.
    lying = tmp_path / "lying"
    with zipfile.ZipFile(bundle.path) as old, zipfile.ZipFile(lying, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "manifest.json":
                manifest = json.loads(data)
                for wheel in manifest["wheels"]:
                    wheel["unpacked"] = -5_000_000
                data = json.dumps(manifest).encode()
            new.writestr(name, data)
    status, reason, left = install_on_small_disk(lying, tmp_path / "root")
    assert (status, left) == (3, [".lock"])
    assert reason == f"the disk is full at {tmp_path}/root/bundles: make room and start again"


def test_a_damaged_wheel_is_refused(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)
    damaged = tmp_path / "damaged"
    with zipfile.ZipFile(bundle.path) as old, zipfile.ZipFile(damaged, "w") as new:
        for entry in old.infolist():
            data = old.read(entry)
            new.writestr(entry, data[:-40] + bytes(40) if entry.filename.endswith(".whl") else data)
    status, answer = install(damaged, tmp_path / "root")
    assert status == 2
    assert "damaged in the bundle" in answer["reason"]
    assert os.listdir(tmp_path / "root/bundles") == [".lock"]


def test_a_file_that_is_not_what_its_record_says_is_refused(tmp_path: Path) -> None:
    wheel = make_agent(tmp_path / "w")
    with zipfile.ZipFile(wheel) as packed:
        members = {name: packed.read(name) for name in packed.namelist()}
    members["iris_bootstrap/main.py"] += b"\nimport evil\n"
    with zipfile.ZipFile(wheel, "w") as packed:
        for name, data in members.items():
            packed.writestr(name, data)
    status, answer = install(build_bundle([wheel], tmp_path), tmp_path / "root")
    assert (status, answer["reason"]) == (
        2,
        "iris_bootstrap-1.0-py3-none-any.whl: iris_bootstrap/main.py is not what its RECORD says",
    )


@pytest.mark.parametrize("name", ["../../../../escaped", "/escaped", "x/../../../../../escaped"])
def test_no_file_gets_out_of_the_bundle(name: str, tmp_path: Path) -> None:
    wheels = [make_agent(tmp_path, requires=["lib"]), make_wheel(tmp_path, "lib", files={name: "x"})]
    status, answer = install(build_bundle(wheels, tmp_path), tmp_path / "a/b/c/root")
    assert (status, "leads out of the bundle" in answer["reason"]) == (2, True)
    assert not list(tmp_path.rglob("escaped")) and not Path("/escaped").exists()


def test_a_wheel_that_is_missing_for_this_host_is_named(tmp_path: Path) -> None:
    lib = make_wheel(tmp_path, "lib", tag="cp310-cp310-manylinux_2_17_riscv64")
    status, answer = install(build_bundle([make_agent(tmp_path, requires=["lib"]), lib], tmp_path), tmp_path)
    assert status == 2
    assert answer["reason"].startswith("the bundle has no wheel of lib for cp3")


def test_a_module_that_cannot_be_loaded_here_is_found_before_anything_counts(tmp_path: Path) -> None:
    files = {"iris_bootstrap/main.py": "import no_such_library\n"}
    wheel = make_wheel(
        tmp_path, "iris-bootstrap", files=files, script=("iris-bootstrap", "iris_bootstrap.main:main")
    )
    status, answer = install(build_bundle([wheel], tmp_path), tmp_path / "root")
    assert status == 2
    assert answer["reason"].endswith("ModuleNotFoundError: No module named 'cryptography'")
    assert os.listdir(tmp_path / "root/bundles") == [".lock"]


def test_the_newest_two_stay_and_what_is_in_use(tmp_path: Path) -> None:
    bundles = [make_bundle(tmp_path, f"{n}.0") for n in range(4)]
    root = tmp_path / "root"
    for bundle in bundles:
        install(bundle, root, words=["--keep", bundles[0].sha256])
    there = {path.name for path in (root / "bundles").iterdir()} - {".lock"}
    assert there == {bundles[0].sha256, bundles[3].sha256}
    install(bundles[1], root)
    there = {path.name for path in (root / "bundles").iterdir()} - {".lock"}
    assert there == {bundles[1].sha256, bundles[3].sha256}


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.8", "3.9"])
def test_an_old_python_is_told_so(version: str, tmp_path: Path, bundle: Bundle) -> None:
    python = find_python(version)
    argv = [str(python), str(bundle.path), "install", "--root", str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (1, f"python3 {version} is too old: Iris needs 3.10 or later\n")


def test_the_launcher_finds_its_interpreter_wherever_it_is(tmp_path: Path, bundle: Bundle) -> None:
    root = tmp_path / "it's a $(touch pwned) root"
    _, answer = install(bundle, root)
    link = tmp_path / "link"
    link.symlink_to(Path(answer["path"]) / "bin/iris-bootstrap")
    done = subprocess.run(
        [link, "crash", str(tmp_path)], capture_output=True, text=True, timeout=30, cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (1, "hello from crash\n")
    assert not (tmp_path / "pwned").exists()
