"""Bundles: the same bytes for the same wheels, and what a host makes of them."""

import hashlib
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from iris_platform.bundle import BundleError, build_bundle, open_bundle
from iris_platform.bundle.tags import Host, choose, fit
from tests.platform.bootstrap.made import make_agent, make_wheel

GLIBC = ("manylinux", 2, 36)
HERE = Host((3, 11), "cp311", "x86_64", GLIBC)


def test_the_same_wheels_make_the_same_bytes(tmp_path: Path) -> None:
    first = build_bundle([make_agent(tmp_path / "a"), make_wheel(tmp_path / "a", "b")], tmp_path / "1")
    shutil.copytree(tmp_path / "a", tmp_path / "c")
    second = build_bundle(tmp_path / "c", tmp_path / "2")
    assert first.path.read_bytes() == second.path.read_bytes()
    assert first.path.name == first.sha256 == hashlib.sha256(first.path.read_bytes()).hexdigest()
    assert open_bundle(second.path).manifest == first.manifest


def test_damage_is_found(tmp_path: Path) -> None:
    bundle = build_bundle([make_agent(tmp_path)], tmp_path)
    data = bytearray(bundle.path.read_bytes())
    data[len(data) // 2] ^= 1
    bundle.path.write_bytes(data)
    with pytest.raises(BundleError, match=r"damaged|not a bundle"):
        open_bundle(bundle.path)


def test_a_missing_dependency_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        BundleError, match=r"iris_bootstrap-1.0.* needs grpcio>=1 on Python 3.10, which is not among"
    ):
        build_bundle([make_agent(tmp_path, requires=["grpcio>=1"])], tmp_path)


@pytest.mark.parametrize("name", ["x.whl", "iris_bootstrap-1-py3-none-any.whl"])
def test_what_is_no_wheel_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("nothing")
    with pytest.raises(BundleError, match=name):
        build_bundle(tmp_path, tmp_path)


def test_extras_and_markers_count(tmp_path: Path) -> None:
    wheels = [
        make_agent(
            tmp_path, requires=["lib[fast]>=1", 'old; python_version < "3.11"', 'never; os_name == "nt"']
        ),
        make_wheel(tmp_path, "lib", requires=['quick; extra == "fast"', 'slow; extra == "slow"']),
        make_wheel(tmp_path, "quick"),
        make_wheel(tmp_path, "old"),
    ]
    needs = build_bundle(wheels, tmp_path).manifest["programs"]["iris-bootstrap"]["needs"]
    assert needs == {
        "10": ["iris-bootstrap", "lib", "old", "quick"],
        "11": ["iris-bootstrap", "lib", "quick"],
    }


@pytest.mark.parametrize(
    ("tag", "fits"),
    [
        ("cp311-cp311-manylinux_2_17_x86_64", True),
        ("cp311-cp311-manylinux2014_x86_64", True),
        ("cp311-cp311-manylinux_2_36_x86_64", True),
        ("cp311-cp311-manylinux_2_37_x86_64", False),
        ("cp311-cp311-manylinux2014_aarch64", False),
        ("cp311-cp311-musllinux_1_2_x86_64", False),
        ("cp311-cp311-linux_x86_64", True),
        ("cp311-cp311-macosx_11_0_arm64", False),
        ("cp310-cp310-manylinux2014_x86_64", False),
        ("cp310-abi3-manylinux2014_x86_64", True),
        ("cp311-abi3-manylinux1_x86_64", True),
        ("cp312-abi3-manylinux2014_x86_64", False),
        ("py3-none-any", True),
        ("py2-none-any", False),
        ("py312-none-any", False),
        ("cp311-cp311t-manylinux2014_x86_64", False),
    ],
)
def test_tags(tag: str, fits: bool) -> None:
    assert (fit(tag, HERE) is not None) == fits


def test_a_python_without_the_lock_takes_no_stable_abi() -> None:
    free = Host((3, 13), "cp313t", "x86_64", GLIBC)
    assert fit("cp313-cp313t-manylinux2014_x86_64", free)
    assert not fit("cp310-abi3-manylinux2014_x86_64", free)
    assert not fit("cp313-cp313-manylinux2014_x86_64", free)
    assert fit("py3-none-any", free)


def test_musl_takes_musl() -> None:
    alpine = Host((3, 12), "cp312", "x86_64", ("musllinux", 1, 2))
    assert fit("cp312-cp312-musllinux_1_1_x86_64", alpine)
    assert not fit("cp312-cp312-manylinux_2_17_x86_64", alpine)


def test_the_tags_agree_with_those_of_packaging() -> None:
    from packaging.tags import sys_tags

    ours = Host.here()
    for tag in sys_tags():
        if tag.interpreter.startswith(("cp3", "py3")) and "linux" in f"{tag.platform}linux":
            assert fit(str(tag), ours), tag


def test_the_best_wheel_is_taken() -> None:
    wheels = [
        {
            "name": name,
            "version": version,
            "tags": [tag],
            "python": [3, 10],
            "file": f"{name}-{version}-{tag}",
        }
        for name, version, tag in [
            ("a", "1", "py3-none-any"),
            ("a", "1", "cp311-cp311-manylinux_2_17_x86_64"),
            ("a", "1", "cp310-abi3-manylinux_2_17_x86_64"),
            ("b", "2.9", "py3-none-any"),
            ("b", "2.10", "py3-none-any"),
            ("c", "1", "cp312-cp312-manylinux_2_17_x86_64"),
        ]
    ]
    assert [w["file"] for w in choose(wheels, HERE)] == [
        "a-1-cp311-cp311-manylinux_2_17_x86_64",
        "b-2.10-py3-none-any",
    ]


def test_importing_the_package_imports_nothing_for_builders() -> None:
    code = "import sys, iris_platform.bootstrap; print([m for m in ('packaging', 'paramiko', 'grpc') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == "[]\n"


def test_a_bundle_holds_what_runs_it(tmp_path: Path) -> None:
    with zipfile.ZipFile(build_bundle([make_agent(tmp_path)], tmp_path).path) as packed:
        names = packed.namelist()
    assert {"__main__.py", "manifest.json", "iris_platform/bundle/installer.py"} < set(names)
