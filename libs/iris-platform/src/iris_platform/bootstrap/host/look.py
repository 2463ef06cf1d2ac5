"""The commands that look at a host before anything is brought to it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from iris_platform.bootstrap.host import layout as places
from iris_platform.bootstrap.host.facts import host_facts
from iris_platform.bootstrap.host.layout import Layout


def probe(layout: Layout, document: Mapping[str, Any]) -> dict[str, object]:
    """What the host says of itself; changes nothing."""
    engine: Mapping[str, object] = {}
    if document.get("container", {}).get("image"):
        from iris_platform.bootstrap.host import container

        engine = container.look_for_engine(os.environ)
    return {**host_facts(layout), **engine, "incoming": str(layout.incoming)}


def prepare(layout: Layout, document: Mapping[str, Any]) -> dict[str, object]:
    """The same, and have the image, and the directory that a bundle can be uploaded to."""
    places.check_owner(layout, document["labels"])
    if document["container"]["image"]:
        from iris_platform.bootstrap.host import container

        container.have_image(document["container"]["image"])
    places.make_root(layout)
    return probe(layout, document)
