"""The committed stubs are what the protos give, and a stub that is not is noticed."""

import shutil
from pathlib import Path

from tools.generate_protos import FOLDER, PROTOS, STUBS, generate, stale_stubs


def test_the_stubs_are_fresh() -> None:
    assert not stale_stubs(PROTOS, STUBS), "to mend: ./dev test -e proto"


def test_messages_need_no_grpc() -> None:
    sources = {file.name: file.read_text() for file in (STUBS / FOLDER).glob("*_pb2.py")}
    assert sources
    assert not [name for name, source in sources.items() if "import grpc" in source]


def test_a_stale_stub_is_noticed(tmp_path: Path) -> None:
    protos, stubs = tmp_path / "proto", tmp_path / "src"
    shutil.copytree(PROTOS / FOLDER, protos / FOLDER)
    (stubs / FOLDER).mkdir(parents=True)
    generate(protos, stubs)
    assert not stale_stubs(protos, stubs)

    changed = protos / FOLDER / "config.proto"
    changed.write_text(changed.read_text() + "message Added { string name = 1; }\n")
    (protos / FOLDER / "added.proto").write_text('syntax = "proto3";\npackage iris.v1;\n')
    (stubs / FOLDER / "dropped_pb2.py").touch()
    stale = stale_stubs(protos, stubs)
    assert {"config_pb2.py", "config_pb2.pyi", "added_pb2.py", "dropped_pb2.py"} <= stale.keys()
    assert stale["dropped_pb2.py"] is None


def test_a_changed_comment_is_noticed(tmp_path: Path) -> None:
    protos, stubs = tmp_path / "proto", tmp_path / "src"
    shutil.copytree(PROTOS / FOLDER, protos / FOLDER)
    (stubs / FOLDER).mkdir(parents=True)
    generate(protos, stubs)
    changed = protos / FOLDER / "config.proto"
    changed.write_text(changed.read_text().replace("// A whole cluster.", "// All of a cluster."))
    assert "config.binpb" in stale_stubs(protos, stubs)
