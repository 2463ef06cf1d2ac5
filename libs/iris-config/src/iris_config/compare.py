"""Whether two configurations mean the same, and where they differ."""

from __future__ import annotations

import hashlib
import json
from typing import NamedTuple

from iris_config.config import IrisConfig
from iris_config.environment import names_a_secret
from iris_config.problems import FieldPath, field_name
from iris_config.render import leaves, plain_tree

NOTHING = "(none)"
HIDDEN = "(hidden)"


def fingerprint(config: IrisConfig) -> str:
    """64 hexadecimal digits that are equal for configurations of equal meaning."""
    canonical = json.dumps(json.loads(config.to_json()), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8")).hexdigest()


class Change(NamedTuple):
    """A value that differs; what is absent is `(none)`."""

    field: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.field}: {self.old} -> {self.new}"


class Value(NamedTuple):
    """A value in effect, and where it came from."""

    field: str
    value: str
    origin: str


def effective_values(config: IrisConfig) -> list[Value]:
    """Every value of a configuration; what a name says is secret is hidden."""
    return [
        Value(
            field_name(path),
            HIDDEN if _is_secret(path, config) else value,
            config.origins.words(path) if config.origins else "",
        )
        for path, value in _values(config).items()
    ]


def diff_configs(old: IrisConfig, new: IrisConfig) -> list[Change]:
    """Every value that differs, by meaning.

    A group that was added or removed is one change. A secret's change says that
    it differs, not what it is.
    """
    before, after = _values(old), _values(new)
    changes = []
    for name in sorted(set(old.scale_groups) ^ set(new.scale_groups)):
        words = ("present", NOTHING) if name in old.scale_groups else (NOTHING, "present")
        changes.append(Change(f"scale_groups.{name}", *words))
    for path in dict.fromkeys([*before, *after]):
        was, now = before.get(path, NOTHING), after.get(path, NOTHING)
        group = path[1] if path[0] == "scale_groups" and len(path) > 1 else None
        one_sided = group is not None and not (group in old.scale_groups and group in new.scale_groups)
        if was != now and not one_sided:
            if _is_secret(path, old, new):
                was, now = (word if word == NOTHING else HIDDEN for word in (was, now))
            changes.append(Change(field_name(path), was, now))
    return changes


def _is_secret(path: FieldPath, *configs: IrisConfig) -> bool:
    """Whether a value is not to be shown, by its name or by the variables that it is made of."""
    origins = (config.origins for config in configs if config.origins is not None)
    return names_a_secret(str(path[-1])) or any(origin.is_secret(path) for origin in origins)


def _values(config: IrisConfig) -> dict[FieldPath, str]:
    return dict(leaves(plain_tree(config.proto)))
