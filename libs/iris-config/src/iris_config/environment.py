"""`${VAR}` and `${VAR:-default}` in a configuration's values."""

from __future__ import annotations

import re
from collections.abc import Mapping

# Names that say that a value is nobody else's business.
_SECRET = re.compile(
    r"TOKEN|SECRET|PASSW|PASSPHRASE|API_?KEY|PRIVATE_?KEY|SIGNING_?KEY|ACCESS_?KEY|CREDENTIAL|COOKIE|JWT"
    r"|WEBHOOK|(^|_)(PASS|PAT|AUTH|DSN)($|_)",
    re.IGNORECASE,
)
# `$${` stands for `${` itself.
_REFERENCE = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\$\{")


def expand(text: str, environment: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """`text` with its references replaced, and the variables that they name.

    As in a shell, `:-` stands in for a variable that is not set or empty.

    Raises:
        ValueError: a reference that cannot be read, or a variable that is not
            set and has no default.
    """
    names: list[str] = []

    def replace(match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        name, default = match[1], match[2]
        if name is None:
            raise ValueError("expected ${NAME} or ${NAME:-default}, or $${ for ${ itself")
        names.append(name)
        value = environment.get(name)
        if value is not None and not _is_text(value):
            raise ValueError(f"the environment variable {name} is not UTF-8 text")
        if default is not None:
            return value or default
        if value is None:
            raise ValueError(
                f"the environment variable {name} is not set; set it, or write ${{{name}:-default}}"
            )
        return value

    return _REFERENCE.sub(replace, text), tuple(dict.fromkeys(names))


def names_a_secret(name: str) -> bool:
    """Whether a variable of that name probably holds a secret."""
    return bool(_SECRET.search(name))


def _is_text(value: str) -> bool:
    # What is not UTF-8 comes out of the environment as lone surrogates.
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def escape(text: str) -> str:
    """What `expand` turns into `text`."""
    return text.replace("${", "$${")
