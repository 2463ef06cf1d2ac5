"""`Hosts` over SSH: looks at hosts, starts agents on them, and takes everything away again.

Every host is on its own: one that cannot be reached, refuses, or is slow never
holds up the others, and has an answer that says why.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from iris_platform.base import PlatformError, Refused, Unreachable, VmBootstrapSpec
from iris_platform.bootstrap import NO_CONTAINER, BundleSource, Startup
from iris_platform.manual.hosts import NOT_THE_SAME, HostReport, NotTheSameHost, is_the_same
from iris_platform.manual.hosts import Outcome as HostOutcome
from iris_platform.manual.joining import Joining
from iris_platform.manual.parked import Parked
from iris_platform.manual.records import ManualSlice, slice_from_json
from iris_platform.manual.script import run_script, words_of
from iris_platform.manual.startup import SLICE_FILE, START_S, HostSettings, Placed, worker_startup
from iris_platform.names import LABEL_CLUSTER, LABEL_CLUSTER_ID
from iris_platform.slice_json import CorruptSlice
from iris_platform.ssh import Connect, SshConnection, SshTarget, for_each

LOOK_S = 20.0
# An image may have to be pulled first.
PULL_S = 960.0
REMOVE_S = 120.0
# Beside what runs over there: for connecting, and for an answer to come back.
SPARE_S = 60.0
# No bundle has it: for questions that need none.
NO_BUNDLE = BundleSource("0" * 64, path="/nonexistent")

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
  "$path" -I -S "$root/host.pyz" status --role worker --root "$root"
  cat "$root/worker/work/slice.json" 2>/dev/null
  exit 0
done
"""


class SshHosts:
    """See `Hosts`. `joining` is None where nothing is ever started: for a stop.

    `way_back` returns when a host can reach the controller, or says why not.
    """

    def __init__(
        self,
        targets: Mapping[str, SshTarget],
        connect: Connect,
        settings: HostSettings,
        joining: Joining | None,
        way_back: Callable[[str], None] = lambda host: None,
    ) -> None:
        self._targets = targets
        self._connect = connect
        self._settings = settings
        self._joining = joining
        self._way_back = way_back
        self._parked = Parked()

    def look(self, hosts: Sequence[str], *, keep: bool = False) -> Mapping[str, HostReport | PlatformError]:
        """See `Hosts.look`."""
        most = self._settings.max_parallel
        return for_each(hosts, lambda host: self._look(host, keep=keep), most, LOOK_S + SPARE_S)

    def start(self, record: ManualSlice) -> Mapping[str, HostOutcome]:
        """See `Hosts.start`."""
        indexes = {host: index for index, host in enumerate(record.hosts)}
        seconds = START_S + (PULL_S if self._settings.container.image else 0.0)
        return self._each(record.hosts, lambda host: self._start(record, host, indexes[host]), seconds)

    def remove(self, record: ManualSlice, hosts: Sequence[str]) -> Mapping[str, HostOutcome]:
        """See `Hosts.remove`."""
        return self._each(hosts, lambda host: self._remove(record, host), REMOVE_S)

    def tidy(self, cluster_id: str, hosts: Sequence[str]) -> Mapping[str, HostOutcome]:
        """See `Hosts.tidy`."""
        return self._each(hosts, lambda host: self._tidy(cluster_id, host), REMOVE_S)

    def _each(
        self, hosts: Sequence[str], work: Callable[[str], None], seconds: float
    ) -> Mapping[str, HostOutcome]:
        answers = for_each(hosts, work, self._settings.max_parallel, seconds + SPARE_S)
        return {
            host: answer if isinstance(answer, PlatformError) else None for host, answer in answers.items()
        }

    @contextmanager
    def _reach(self, host: str, *, keep: bool = False) -> Iterator[SshConnection]:
        """A connection, perhaps that of the step before; with `keep` it waits for the next one."""
        connection = self._parked.take(host) or self._dial(host)
        try:
            yield connection
            if keep and connection.is_alive:
                self._parked.park(host, connection)
                return
        except BaseException:
            connection.close()
            raise
        connection.close()

    def _dial(self, host: str) -> SshConnection:
        target = self._targets.get(host)
        if target is None:
            raise Unreachable(f"{host} is not in the configuration any more")
        return self._connect(target)

    # -- looking -------------------------------------------------------------

    def _look(self, host: str, *, keep: bool) -> HostReport:
        with self._reach(host, keep=keep) as connection:
            return self._report(host, connection)

    def _report(self, host: str, connection: SshConnection) -> HostReport:
        # Through sh whatever the login shell is; the text has no data in it.
        argv = ["sh", "-c", _STATUS, "sh", self._settings.root]
        result = connection.run(argv, timeout_s=LOOK_S)
        lines = result.out.decode("utf-8", "replace").splitlines()
        found = [value for value in map(_json, lines) if value is not None]
        boot_id = next((str(value["this_boot"]) for value in found if "this_boot" in value), "")
        status = next((value for value in found if "status" in value), None)
        if status is None:
            if result.status:
                raise Unreachable(
                    f"{host}: a command ended with status {result.status}: {words_of(result.err)}"
                )
            return HostReport(boot_id=boot_id)
        if status["status"] == "failed":
            raise Unreachable(f"{host}: {status.get('step')}: {status.get('reason')}")
        said = status.get("labels")
        labels = said if isinstance(said, dict) else {}
        return HostReport(
            cluster_id=str(labels.get(LABEL_CLUSTER_ID, "")),
            cluster=str(labels.get(LABEL_CLUSTER, "")),
            boot_id=boot_id,
            slice=_slice(host, found),
            is_running=status["status"] == "running",
            detail=str(status.get("detail") or status.get("phase") or ""),
            log_tail=str(status.get("log_tail") or ""),
        )

    # -- starting ------------------------------------------------------------

    def _start(self, record: ManualSlice, host: str, index: int) -> None:
        joining = self._joining
        if joining is None:
            raise Refused("nothing is started without a controller")
        # The controller looks at a slice as soon as it was made.
        with self._reach(host, keep=True) as connection:
            report = self._report(host, connection)
            if report.is_running and report.slice is not None and report.slice.spec.name == record.spec.name:
                return
            placed = Placed(record, index, self._targets[host].host)
            startup = worker_startup(self._settings, joining, placed, NO_BUNDLE)
            startup = replace(startup, bundle=self._bring(joining, connection, host, startup))
            # It joins before this command ends.
            self._way_back(host)
            token = joining.mint(record.spec.name, index).encode("ascii") + b"\n"
            run_script(connection, startup, ["start"], timeout_s=START_S, secret=token).check(host)

    def _bring(
        self, joining: Joining, connection: SshConnection, host: str, startup: Startup
    ) -> BundleSource:
        """Have on the host what runs there: the image, or else a bundle."""
        if startup.spec.container.image:
            # Before the token is made, which does not live for ever.
            run_script(connection, startup, ["prepare"], timeout_s=PULL_S).check(host)
            return NO_BUNDLE
        facts = run_script(connection, startup, ["prepare"], timeout_s=LOOK_S).check(host).facts
        python = ".".join(str(facts["python"]).split(".")[:2])
        bundle = joining.bundle_for(python, str(facts["machine"]))
        path = f"{facts['incoming']}/{bundle.sha256}"
        if bundle.sha256 not in facts["bundles"]:
            connection.put(bundle.path, path)
        return BundleSource(bundle.sha256, path=path)

    # -- removing ------------------------------------------------------------

    def _remove(self, record: ManualSlice, host: str) -> None:
        cluster_id = record.spec.labels[LABEL_CLUSTER_ID]
        with self._reach(host) as connection:
            report = self._report(host, connection)
            if not is_the_same(record, host, report):
                raise NotTheSameHost(f"{host}: {NOT_THE_SAME}; elsewhere it ends with its lease")
            if report.slice is not None and report.slice.spec.name != record.spec.name:
                return
            if not report.cluster_id and not report.is_running:
                return
            if report.cluster_id not in ("", cluster_id):
                return
            spec = VmBootstrapSpec("worker", NO_CONTAINER, {LABEL_CLUSTER_ID: cluster_id})
            startup = Startup(spec, bundle=NO_BUNDLE, root=self._settings.root)
            words = ["remove", "--cluster-id", cluster_id]
            run_script(connection, startup, words, timeout_s=REMOVE_S).check(host)

    def _tidy(self, cluster_id: str, host: str) -> None:
        with self._reach(host) as connection:
            report = self._report(host, connection)
            # Somebody's agent needs its bundle; ours would have been removed before. Labels
            # without a slice are what is left of a start that was broken off.
            broken_off = report.cluster_id == cluster_id and report.slice is None
            if report.is_running or (report.cluster_id and not broken_off):
                return
            spec = VmBootstrapSpec("worker", NO_CONTAINER, {LABEL_CLUSTER_ID: cluster_id})
            startup = Startup(spec, bundle=NO_BUNDLE, root=self._settings.root)
            words = ["remove", "--bundles", "--cluster-id", cluster_id]
            run_script(connection, startup, words, timeout_s=REMOVE_S).check(host)


def _json(line: str) -> dict[str, object] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _slice(host: str, found: Sequence[Mapping[str, object]]) -> ManualSlice | None:
    value = next((value for value in found if "on" in value and "name" in value), None)
    try:
        return slice_from_json(f"{host}: {SLICE_FILE}", value) if value is not None else None
    except CorruptSlice:
        return None
