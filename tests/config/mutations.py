"""Changes of one node of a YAML tree, for tests of files that are almost right."""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

Tree: TypeAlias = Any
Place: TypeAlias = tuple[Any, ...]
# Of a parent, one of its keys or indexes, and a value to put there.
Mutation: TypeAlias = Callable[[Tree, Any, Tree], None]


def places(tree: Tree, above: Place = ()) -> Iterator[Place]:
    """The path of everything below the root."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, child in items:
        yield (*above, key)
        yield from places(child, (*above, key))


def parent_of(tree: Tree, place: Place) -> Tree:
    """The mapping or list that has the place."""
    for key in place[:-1]:
        tree = tree[key]
    return tree


def delete(parent: Tree, key: Any, value: Tree) -> None:
    """Nothing is there any more."""
    del parent[key]


def retype(parent: Tree, key: Any, value: Tree) -> None:
    """Something else is there."""
    parent[key] = value


def rename(parent: Tree, key: Any, value: Tree) -> None:
    """It is there under another name, which is as good where names are the author's."""
    if isinstance(parent, dict):
        parent[f"{key}x"] = parent.pop(key)


def misname(parent: Tree, key: Any, value: Tree) -> None:
    """It is there under another name, which no rule for names allows."""
    if isinstance(parent, dict):
        parent[f"{key}X"] = parent.pop(key)


def add(parent: Tree, key: Any, value: Tree) -> None:
    """There is one more arm beside it, perhaps one too many."""
    if isinstance(parent, dict):
        parent["local"] = value
