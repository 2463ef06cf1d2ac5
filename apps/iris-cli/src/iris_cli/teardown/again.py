"""The command line that repeats a stop, for hints."""

from __future__ import annotations

import shlex
from argparse import Namespace
from collections.abc import Iterable


def stop_words(options: Namespace, *, yes: bool, also_ids: Iterable[str] = ()) -> str:
    """`cluster stop` with every option that says what is meant by it.

    Which cluster it is stands before these words: `Cluster.command` adds it.
    """
    words = ["cluster", "stop"]
    if yes:
        words.append("-y")
    if options.controller:
        words.append("--controller")
    if options.forget:
        words.append("--forget")
    for zone in options.zones:
        words += ["--zone", zone]
    for cluster_id in dict.fromkeys([*options.cluster_ids, *also_ids]):
        words += ["--cluster-id", cluster_id]
    if options.state_dir:
        words += ["--state-dir", options.state_dir]
    if options.pki_dir:
        words += ["--pki-dir", options.pki_dir]
    return shlex.join(words)
