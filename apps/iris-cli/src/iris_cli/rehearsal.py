"""The names of rehearsals: `NAME-local` is the rehearsal of cluster NAME.

No configuration may have such a name (`iris_config.validate`), so a rehearsal
shares no name, and thereby no default place, with any real cluster. Imports
nothing: what is rehearsed is in `configs`.
"""

SUFFIX = "-local"


def is_rehearsal(name: str) -> bool:
    """Whether a cluster of that name is a rehearsal."""
    return name.endswith(SUFFIX)


def rehearsal_name(name: str) -> str:
    """The rehearsal's name of a cluster, whichever of the two is given."""
    return name if is_rehearsal(name) else name + SUFFIX


def real_name(name: str) -> str:
    """The real cluster's name, whichever of the two is given."""
    return name.removesuffix(SUFFIX)
