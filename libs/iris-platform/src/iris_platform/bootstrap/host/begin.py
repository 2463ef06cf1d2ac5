"""The commands that bring a role to a host: armed before anything is done, locked, undone where they fail."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from iris_platform.bootstrap.host import dead_man, lock
from iris_platform.bootstrap.host import layout as places
from iris_platform.bootstrap.host.keeper import keeper_is_up
from iris_platform.bootstrap.host.layout import Layout
from iris_platform.bootstrap.host.outcome import HOST_TROUBLE, Failure
from iris_platform.bootstrap.host.remove import clear_files
from iris_platform.bootstrap.host.service import service_of
from iris_platform.bootstrap.host.start import install, start, undo

Document = Mapping[str, Any]


def start_role(layout: Layout, document: Document, program: bytes) -> dict[str, object]:
    """Start what the document says; see `start.start`."""
    deletes_slice = bool(document["dead_man"]["deletes_slice"])
    # Before anything is made or fetched: from here on the host undoes it by itself.
    armed = _arm(layout, document)
    noted = False
    try:
        places.check_owner(layout, document["labels"])
        places.make_root(layout)
        with lock.hold(layout):
            places.make_role(layout)
            dead_man.note(layout, armed)
            noted = True
            answer = start(layout, document, program)
            if not deletes_slice:
                dead_man.disarm(layout)
            return answer
    except (Failure, OSError) as error:
        if deletes_slice:
            from iris_platform.bootstrap.host.report import report_failure

            failure = error if isinstance(error, Failure) else Failure("start", str(error), HOST_TROUBLE)
            report_failure(failure)
        if not _needs_undoing(layout, document, noted):
            dead_man.end(armed)
            if noted:
                layout.dead_man_file.unlink(missing_ok=True)
                _clear_nothing_started(layout)
        raise


def install_role(layout: Layout, document: Document, program: bytes) -> dict[str, object]:
    """Have the program there, and run it once; see `start.install`."""
    places.check_owner(layout, document["labels"])
    places.make_root(layout)
    with lock.hold(layout):
        places.make_role(layout)
        try:
            return install(layout, document, program)
        except Failure:
            _clear_nothing_started(layout)
            raise


def _arm(layout: Layout, document: Document) -> tuple[int, int] | None:
    """The dead man, who has all that he needs before he is alone."""
    after_s = float(document["dead_man"]["after_s"])
    if not document["dead_man"]["deletes_slice"]:
        return dead_man.arm(after_s, lambda: _undo(layout, document))
    from iris_platform.bootstrap.host import cloud

    return dead_man.arm(after_s, lambda: cloud.delete_slice(document), lambda: keeper_is_up(layout))


def _needs_undoing(layout: Layout, document: Document, noted: bool) -> bool:
    """Whether a start that failed has left something that the dead man is there for."""
    if document["dead_man"]["deletes_slice"]:
        # A machine of a cloud goes away whatever happened, unless an agent is well.
        return True
    with suppress(Failure):
        if noted and service_of(layout, os.environ).status().is_up:
            # What was there before runs on.
            return False
    # A host only loses what we put there.
    return noted and layout.service_file.exists()


def _clear_nothing_started(layout: Layout) -> None:
    """A first start that failed leaves no more behind than an installed bundle."""
    if not layout.service_file.exists() and not any(layout.state.iterdir()):
        with suppress(Failure):
            clear_files(layout, forget=False, bundles=False)


def _undo(layout: Layout, document: Document) -> None:
    with lock.hold(layout):
        undo(layout, document)
