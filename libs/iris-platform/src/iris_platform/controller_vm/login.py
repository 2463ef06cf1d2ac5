"""This operator's own SSH key for the machine that was made for the controller."""

from __future__ import annotations

from pathlib import Path

from iris_platform.controller_vm.site import OPERATOR_DIR
from iris_platform.pki.names import SSH_KEY_FILE
from iris_platform.pki.ssh_key import ensure_ssh_key

# The machine makes him when it reads its metadata, and lets him use sudo:
# https://cloud.google.com/compute/docs/connect/add-ssh-keys#add_ssh_keys_to_instance_metadata
LOGIN_USER = "iris-operator"


def key_file(pki_dir: Path) -> Path:
    """Where its private half is."""
    return pki_dir / OPERATOR_DIR / SSH_KEY_FILE


def metadata_line(pki_dir: Path, operator: str) -> str:
    """The line of the metadata value `ssh-keys` that lets us in; the key is made now if there is none.

    Raises:
        IdentityError: the key cannot be used or made.
    """
    return f"{LOGIN_USER}:{ensure_ssh_key(pki_dir / OPERATOR_DIR)} {operator}"
