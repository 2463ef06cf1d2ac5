"""A real process that keeps the contract of a host's directory, and little more.

    stand_in_agent.py [FAULT] run --detach --orphan-timeout S --host-dir DIR

Starts a keeper that writes its boot line and waits for SIGTERM, which it
answers by ending. Standard library only: run with `-I -S` it is up in 30 ms.
FAULT is one of those in `FAULTS`.
"""

import json
import os
import signal
import sys
from pathlib import Path

FAULTS = {
    "fail": "says why and exits with 3",
    "mute": "exits with 1 and says nothing",
    "silent": "exits with 0 without a keeper",
    "hang": "never returns",
    "stubborn": "ignores SIGTERM",
    "task": "the keeper starts a task in a session of its own",
    "kill-starter": "SIGKILLs who started it, then hangs",
    "kill-stopper": "SIGKILLs who sends the first SIGTERM, and ends at the second",
}


def start_time(pid: int) -> int:
    stat = Path(f"/proc/{pid}/stat").read_text()
    return int(stat[stat.rindex(")") + 2 :].split()[19])


def keeper(fault: str, host_dir: Path, ready: int) -> None:
    if fault == "task" and os.fork() == 0:
        os.setsid()
        signal.pause()
    # As processes.boot_id() has it: the kernel's boot, and our first process.
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip() + f".{start_time(1)}"
    pid = os.getpid()
    line = {"kind": "boot", "boot_id": boot, "pid": pid, "start_time": start_time(pid)}
    with (host_dir / "keeper.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
    os.write(ready, b".")
    os.close(ready)
    while True:
        sender = signal.sigwaitinfo({signal.SIGTERM}).si_pid
        once = host_dir / "killed-the-stopper"
        if fault == "kill-stopper" and not once.exists():
            once.touch()
            os.kill(sender, signal.SIGKILL)
        elif fault != "stubborn":
            os._exit(0)


def start_keeper(fault: str, host_dir: Path) -> int:
    ended, ready = os.pipe()
    if os.fork() == 0:
        os.setsid()
        null = os.open("/dev/null", os.O_RDWR)
        for fd in range(3):
            os.dup2(null, fd)
        os.set_inheritable(ready, True)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        # The mark has to be there when a program is executed.
        environ = {**os.environ, "IRIS_HOST_DIR": str(host_dir.resolve())}
        argv = [sys.executable, "-I", "-S", __file__, "keeper", fault, str(host_dir), str(ready)]
        os.execve(argv[0], argv, environ)
    os.close(ready)
    return 0 if os.read(ended, 1) else 1


def main(argv: list[str]) -> int:
    if argv[0] == "keeper":
        keeper(argv[1], Path(argv[2]), int(argv[3]))
    fault = argv.pop(0) if argv[0] in FAULTS else "-"
    assert argv[:3] == ["run", "--detach", "--orphan-timeout"]
    assert argv[4] == "--host-dir"
    host_dir = Path(argv[5])
    assert (host_dir / "host.json").exists()
    if fault == "fail":
        sys.stderr.write("first line\nno such accelerator: café\n")
        return 3
    if fault in ("mute", "silent"):
        return 1 if fault == "mute" else 0
    if fault == "kill-starter":
        os.kill(os.getppid(), signal.SIGKILL)
    if fault in ("hang", "kill-starter"):
        signal.pause()
    return start_keeper(fault, host_dir)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
