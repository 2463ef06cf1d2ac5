"""Writes the Python stubs of `proto/` into `libs/iris-config/src/`.

Run it as `tox -e proto`: what comes out depends on the versions of the
generators, and tox installs the ones that constraints.txt names. With --check
it writes nothing and fails when a committed stub is not what it would write.

Stubs lose the comments of the protos; those of the configuration, which are its
documentation, are kept beside them in a descriptor set.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "proto"
STUBS = ROOT / "libs/iris-config/src"
FOLDER = "iris_proto/v1"
# The protos whose comments programs read (`iris_config.schema`).
DESCRIBED = ("config",)


def generate(protos: Path, out: Path) -> None:
    """Write the stubs of every file in `protos` into the folder `out`.

    Only a file with a service gets `_pb2_grpc` modules, so that whoever needs
    the messages alone needs no grpc.
    """
    files = sorted((protos / FOLDER).glob("*.proto"))
    services = [file for file in files if re.search(r"^service\b", file.read_text(), re.MULTILINE)]
    run_protoc(protos, files, f"--python_out={out}", f"--mypy_out=quiet:{out}")
    if services:
        run_protoc(protos, services, f"--grpc_python_out={out}", f"--mypy_grpc_out=quiet:{out}")
    for file in files:
        if file.stem in DESCRIBED:
            target = out / FOLDER / f"{file.stem}.binpb"
            run_protoc(protos, [file], "--include_source_info", f"--descriptor_set_out={target}")


def run_protoc(protos: Path, files: list[Path], *outputs: str) -> None:
    # protoc looks for mypy-protobuf's plugins on the PATH; they live beside this interpreter.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    command = [sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={protos}", *outputs]
    subprocess.run([*command, *map(str, files)], check=True, env={**os.environ, "PATH": path})


def read_stubs(folder: Path) -> dict[str, bytes]:
    files = (*(folder / FOLDER).glob("*_pb2*.py*"), *(folder / FOLDER).glob("*.binpb"))
    return {file.name: file.read_bytes() for file in files}


def stale_stubs(protos: Path, stubs: Path) -> dict[str, bytes | None]:
    """What every stub that is not right should hold; None for one that should not exist."""
    with tempfile.TemporaryDirectory() as scratch:
        generate(protos, Path(scratch))
        wanted = read_stubs(Path(scratch))
    found = read_stubs(stubs)
    return {
        name: wanted.get(name)
        for name in sorted(wanted.keys() | found.keys())
        if wanted.get(name) != found.get(name)
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Generate the Python stubs of proto/.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if any is stale")
    check = parser.parse_args().check
    folder = STUBS / FOLDER
    stale = stale_stubs(PROTOS, STUBS)
    for name, content in stale.items():
        if check:
            print(f"stale: {folder.relative_to(ROOT) / name}")
        elif content is None:
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(content)
    if check and stale:
        print("To mend: ./dev test -e proto")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
