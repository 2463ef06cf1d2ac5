"""One host of a slice over one SSH connection: its agent's bootstrap, and what is on the host.

Which workers there are is the store's to say. `controller_vm.host` is the same for
the controller's host; machines of a cloud run the startup script by themselves.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from iris_platform.base import Unreachable, VmBootstrapSpec
from iris_platform.bootstrap import NO_BUNDLE, NO_CONTAINER, BundleSource, Startup
from iris_platform.bootstrap.run import run_script, words_of
from iris_platform.bundle import Bundle
from iris_platform.names import LABEL_CLUSTER, LABEL_CLUSTER_ID
from iris_platform.ssh import SshConnection

LOOK_S = 20.0
# For everything that the script does: install, start, join.
START_S = 300.0
# An image may have to be pulled first.
PULL_S = 960.0
REMOVE_S = 120.0

# Constant text: what varies is an argument. Prints the boot that the host is in (as
# `processes.boot_id` has it), what the program that was left there says of itself,
# and the slice that it was given; no more than the first where there is none.
_STATUS = """\
root=$1
if [ -z "$root" ]; then
  if [ "$(id -u)" = 0 ]; then root=/var/lib/iris-host; else
    root=${XDG_DATA_HOME:-$HOME/.local/share}/iris-host; fi
fi
boot() {
  read -r kernel </proc/sys/kernel/random/boot_id || return
  stat=$(cat /proc/1/stat) || stat=
  set -- ${stat##*\\)}
  [ $# -lt 20 ] || shift 19
  echo "{\\"this_boot\\": \\"$kernel.${1:-0}\\"}"
}
boot 2>/dev/null
[ -f "$root/host.pyz" ] || exit 0
for name in python3 python3.13 python3.12 python3.11 python3.10; do
  path=$(command -v "$name") || continue
  "$path" -I -S -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || continue
  said=$("$path" -I -S "$root/host.pyz" status --role worker --root "$root")
  # Removed while it was read.
  [ -f "$root/host.pyz" ] || exit 0
  printf '%s\\n' "$said"
  cat "$root/worker/work/slice.json" 2>/dev/null
  exit 0
done
"""


@dataclass(frozen=True)
class Found:
    """What a host says of itself.

    `cluster_id` is that of whoever labelled it, empty where nothing of Iris is
    there, and `cluster` its name; `slice` is what it was given to remember as its
    slice, as it was written. `boot_id` is of the boot that it is in, empty where it
    does not say; `log_tail` the end of what its agent said.
    """

    boot_id: str = ""
    cluster_id: str = ""
    cluster: str = ""
    slice: Mapping[str, object] | None = None
    is_running: bool = False
    detail: str = ""
    log_tail: str = ""


class WorkerVm:
    """See the module. Errors are `PlatformError`s that name the host.

    `host` is its name for people; below `root` is everything of Iris on it (empty:
    where the script puts it by itself).
    """

    def __init__(self, connection: SshConnection, host: str, root: str = "") -> None:
        self._connection = connection
        self._host = host
        self._root = root

    def look(self) -> Found:
        """What is there; changes nothing.

        Raises:
            Unreachable: it cannot be seen.
        """
        # Through sh whatever the login shell is; the text has no data in it.
        result = self._connection.run(["sh", "-c", _STATUS, "sh", self._root], timeout_s=LOOK_S)
        lines = result.out.decode("utf-8", "replace").splitlines()
        found = [value for value in map(_json, lines) if value is not None]
        boot_id = next((str(value["this_boot"]) for value in found if "this_boot" in value), "")
        status = next((value for value in found if "status" in value), None)
        if status is None:
            if result.status:
                words = f"a command ended with status {result.status}: {words_of(result.err)}"
                raise Unreachable(f"{self._host}: {words}")
            return Found(boot_id)
        if status["status"] == "failed":
            raise Unreachable(f"{self._host}: {status.get('step')}: {status.get('reason')}")
        said = status.get("labels")
        labels = said if isinstance(said, dict) else {}
        return Found(
            boot_id,
            cluster_id=str(labels.get(LABEL_CLUSTER_ID, "")),
            cluster=str(labels.get(LABEL_CLUSTER, "")),
            slice=next((value for value in found if "on" in value and "name" in value), None),
            is_running=status["status"] == "running",
            detail=str(status.get("detail") or status.get("phase") or ""),
            log_tail=str(status.get("log_tail") or ""),
        )

    def bring(self, startup: Startup, bundle_for: Callable[[str, str], Bundle]) -> BundleSource:
        """Have on the host what the startup runs: its image, or else a bundle.

        `bundle_for` has the bundle for a Python and a machine type.

        Raises:
            Refused: it cannot be had, or the host does not take it.
        """
        if startup.spec.container.image:
            # Before the token is made, which does not live for ever.
            run_script(self._connection, startup, ["prepare"], timeout_s=PULL_S).check(self._host)
            return NO_BUNDLE
        facts = run_script(self._connection, startup, ["prepare"], timeout_s=LOOK_S).check(self._host).facts
        python = ".".join(str(facts["python"]).split(".")[:2])
        bundle = bundle_for(python, str(facts["machine"]))
        path = f"{facts['incoming']}/{bundle.sha256}"
        if bundle.sha256 not in facts["bundles"]:
            self._connection.put(bundle.path, path)
        return BundleSource(bundle.sha256, path=path)

    def start(self, startup: Startup, token: bytes) -> None:
        """Start the agent; returns when it is well.

        Raises:
            StartFailed: it is not; with the end of its log.
        """
        done = run_script(self._connection, startup, ["start"], timeout_s=START_S, secret=token)
        done.check(self._host)

    def remove(self, cluster_id: str, *, bundles: bool = False) -> None:
        """Take this cluster's agent away, and with `bundles` what is kept for the next one."""
        spec = VmBootstrapSpec("worker", NO_CONTAINER, {LABEL_CLUSTER_ID: cluster_id})
        startup = Startup(spec, bundle=NO_BUNDLE, root=self._root)
        words = ["remove", *(["--bundles"] if bundles else []), "--cluster-id", cluster_id]
        run_script(self._connection, startup, words, timeout_s=REMOVE_S).check(self._host)


def _json(line: str) -> dict[str, object] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
