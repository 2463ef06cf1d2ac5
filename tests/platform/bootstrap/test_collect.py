"""Where a bundle's wheels come from, and the real agent out of a real bundle on bare Pythons."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from iris_platform.base import VmBootstrapSpec
from iris_platform.bootstrap import NO_CONTAINER
from iris_platform.bundle import PROGRAMS, Bundle, BundleError, build_bundle, collect_wheels
from iris_platform.bundle.collect import wheel_cache
from iris_platform.bundle.siblings import is_installed, pack_installed
from iris_platform.bundle.wheels import read_wheel
from iris_platform.names import slice_labels
from tests.platform.bootstrap.hosts import PYTHONS, SLICE, Host, find_python

ROOT = Path(__file__).resolve().parents[3]
CONSTRAINTS = ROOT / "constraints.txt"
HERE = os.uname().machine
needs_pip = pytest.mark.skipif(importlib.util.find_spec("pip") is None, reason="no pip in this environment")


def test_an_installed_package_becomes_the_same_wheel_every_time(tmp_path: Path) -> None:
    first = pack_installed("iris-platform", tmp_path)
    data = first.read_bytes()
    assert pack_installed("iris-platform", tmp_path).read_bytes() == data
    wheel = read_wheel(first)
    assert (wheel.name, wheel.python, wheel.tags) == ("iris-platform", (3, 10), ("py3-none-any",))
    with zipfile.ZipFile(first) as packed:
        names = packed.namelist()
    assert {"iris_platform/py.typed", "iris_platform/bundle/installer.py"} < set(names)
    assert not [name for name in names if "__pycache__" in name or ".." in name]


def test_a_package_installed_from_its_wheel_is_packed_too(tmp_path: Path) -> None:
    """As `pip install` leaves it: files beside the metadata, scripts and manuals elsewhere."""
    site = tmp_path / "lib/site-packages"
    with zipfile.ZipFile(pack_installed("iris-bootstrap", tmp_path)) as packed:
        packed.extractall(site)
    (record,) = site.glob("*.dist-info/RECORD")
    with record.open("a") as file:
        file.write("../../bin/iris-bootstrap,sha256=x,1\n../../share/man/man1/iris-bootstrap.1,sha256=x,1\n")
        file.write("iris_bootstrap/__pycache__/main.cpython-311.pyc,,\n")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); sys.path += sys.argv[3:]\n"
        "from pathlib import Path; from iris_platform.bundle.siblings import pack_installed\n"
        "print(pack_installed('iris-bootstrap', Path(sys.argv[2])))"
    )
    (tmp_path / "again").mkdir()
    argv = [sys.executable, "-I", "-c", code, str(site), str(tmp_path / "again"), *sys.path]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    again = Path(done.stdout.strip())
    assert again.read_bytes() == (tmp_path / again.name).read_bytes()


def test_a_package_that_is_not_installed_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="iris-nothing is not installed beside iris"):
        pack_installed("iris-nothing", tmp_path)


@pytest.mark.parametrize(
    ("environ", "place"),
    [
        ({"XDG_CACHE_HOME": "/c", "HOME": "/h"}, "/c/iris/wheels"),
        ({"XDG_CACHE_HOME": "c", "HOME": "/h"}, "/h/.cache/iris/wheels"),
        ({"HOME": "/h"}, "/h/.cache/iris/wheels"),
    ],
)
def test_the_cache_is_where_caches_are(environ: dict[str, str], place: str) -> None:
    assert str(wheel_cache(environ)) == place


@needs_pip
def test_a_wheel_that_cannot_be_had_is_named_with_its_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(BundleError, match=r"no wheel of \S+ for Python 3.12 on aarch64; pip says") as caught:
        collect_wheels(tmp_path / "o", ["iris-bootstrap"], ["3.12"], ["aarch64"], CONSTRAINTS, tmp_path / "c")
    assert "grpcio==" in str(caught.value) or "protobuf==" in str(caught.value)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """For the Pythons that this machine has, out of the machine's own cache of wheels."""
    folder = tmp_path_factory.mktemp("collected")
    return collect(folder)


def collect(folder: Path) -> list[Path]:
    pythons = [v for v in PYTHONS if _is_there(v)]
    programs = [name for name in PROGRAMS if is_installed(name)]
    return collect_wheels(folder, programs, pythons, [HERE], CONSTRAINTS)


def _is_there(version: str) -> bool:
    try:
        find_python(version)
    except pytest.skip.Exception:
        return False
    return True


@pytest.fixture(scope="module")
def real(wheels: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return build_bundle(wheels, tmp_path_factory.mktemp("real"))


@needs_pip
def test_a_second_collection_needs_no_network(
    wheels: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(sys, "executable", "/no/pip/here")
    again = collect(tmp_path)
    assert [path.name for path in again] == [path.name for path in wheels]
    assert build_bundle(again, tmp_path).sha256 == build_bundle(wheels, tmp_path).sha256


@needs_pip
@pytest.mark.parametrize("version", PYTHONS)
def test_the_real_agent_runs_on_a_bare_python(version: str, tmp_path: Path, real: Bundle) -> None:
    host = Host(tmp_path / "h", find_python(version))
    labels = slice_labels("demo", "abcdefghij", "g", SLICE)
    place = {
        "cluster": "demo",
        "cluster_id": "abcdefghij",
        "slice_name": SLICE,
        "worker_index": 0,
        "group": "g",
    }
    place |= {
        "zone": "local",
        "accelerator_type": "cpu",
        "cpu_millis": 1000,
        "memory_bytes": 0,
        "labels": labels,
    }
    place |= {"controller_file": "@work@/controller.json", "address": "127.0.0.1"}
    startup = host.startup(
        real,
        spec=VmBootstrapSpec("worker", NO_CONTAINER, labels),
        arguments=("run", "--host-dir", "@work@"),
        files={"host.json": place},
        root=f"/tmp/iris-{os.getpid()}-{version}",
    )
    # Offline, where that can be had.
    wrap = [shutil.which("unshare") or "", "--net"] if os.geteuid() == 0 else []
    try:
        outcome = host.run(startup, wrap=wrap).check("h1")
        work = Path(startup.root) / "worker/work"
        boot = json.loads((work / "keeper.jsonl").read_text().splitlines()[0])
        assert (boot["kind"], boot["pid"]) == ("boot", outcome.facts["pid"])
        # Nothing of this machine's packages is to be seen.
        code = "import grpc, sys; print(grpc.__file__, *sys.path, sep=chr(10))"
        python = Path(startup.root) / "bundles" / real.sha256 / "bin/python3"
        seen = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=60, check=True)
        packages = [line for line in seen.stdout.splitlines() if "packages" in line]
        assert packages and all(line.startswith(startup.root) for line in packages)
    finally:
        removed = host.run(startup, "remove", "--bundles")
    assert removed.check("h1").facts["left"] == []
    assert not Path(startup.root).exists()


@needs_pip
@pytest.mark.skipif(not is_installed("iris-controller"), reason="no iris-controller beside this Python")
def test_the_real_controller_can_be_loaded(tmp_path: Path, real: Bundle) -> None:
    python = find_python("3.11")
    argv: list[str | Path] = [
        python,
        "-I",
        "-S",
        real.path,
        "install",
        "--root",
        tmp_path,
        "--program",
        "iris-controller",
    ]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
    answer = json.loads(done.stdout)
    assert answer["status"] == "installed", answer
    launcher = Path(answer["path"]) / "bin/iris-controller"
    said = subprocess.run([launcher, "--version"], capture_output=True, text=True, timeout=60).stdout
    assert said.startswith("iris-controller ")
