"""The commands that stop a role and take it away."""

from __future__ import annotations

import os

from iris_platform.bootstrap.host import layout as places
from iris_platform.bootstrap.host import lock
from iris_platform.bootstrap.host.layout import Layout
from iris_platform.bootstrap.host.remove import remove_role, stop_role
from iris_platform.bootstrap.host.service import service_of
from iris_platform.bootstrap.host.unfinished import end_unfinished
from iris_platform.names import LABEL_CLUSTER_ID


def stop(layout: Layout, cluster_id: str | None) -> dict[str, object]:
    """Stop a role's program; with a cluster's id only if it is that cluster's."""
    if not _is_there(layout, cluster_id):
        return {"status": "absent", "left": []}
    with lock.hold(layout):
        stop_role(layout, service_of(layout, os.environ))
    return {"status": "stopped", "left": []}


def remove(
    layout: Layout, cluster_id: str | None, root: str, *, forget: bool, bundles: bool
) -> dict[str, object]:
    """Remove a role, and what a cluster began for it that is not done; `root` as its callers had it."""
    if cluster_id:
        # Not waited for: they may hold the lock, or come to it after us.
        end_unfinished(layout, cluster_id, root)
    if not _is_there(layout, cluster_id):
        return {"status": "absent", "left": []}
    with lock.hold(layout):
        left = remove_role(layout, service_of(layout, os.environ), forget=forget, bundles=bundles)
    return {"status": "removed", "left": left}


def _is_there(layout: Layout, cluster_id: str | None) -> bool:
    if cluster_id and places.role_labels(layout):
        places.check_owner(layout, {LABEL_CLUSTER_ID: cluster_id})
    return layout.root.exists()
