"""All that the agent remembers of jobs and attempts, for as long as its host's directory lives.

Sessions come and go and are told it anew; a later keeper finds it in the
file. Knows no processes and no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from iris_bootstrap.attempt import AttemptKey, SeenKeys, SeenRange, parse_key
from iris_bootstrap.keeper import frames
from iris_bootstrap.keeper.attempts import Attempt, Ended, JobPlan, lost_report
from iris_bootstrap.keeper.frames import Report
from iris_bootstrap.keeper.journal import Journal, Line, Recovered
from iris_bootstrap.keeper.ports import ReservedPort

# Ranges per message, so that no frame grows with the agent's age.
_RANGES_PER_MESSAGE = 1000


class Memory:
    """Jobs and attempts that are not forgotten, and every id that was ever seen.

    What changes is on disk after the next `flush`. `changed` holds the
    attempts whose report is news to the session.
    """

    def __init__(self, path: Path, boot_id: str) -> None:
        self.boot = frames.State(boot_id, "")
        # Until when it was not alone, of the boot clock and not to the second.
        self.contact_s: float | None = None
        self.seen = SeenKeys()
        self.jobs: dict[str, JobPlan] = {}
        self.attempts: dict[AttemptKey, Attempt] = {}
        self.changed: dict[AttemptKey, None] = {}
        # Who the keeper is and who its session: their lines, by kind.
        self._agents: dict[object, Line] = {}
        self._journal = Journal(path, self._lines)

    def take_over(self, old: Recovered, now_ms: int, log_bytes: Callable[[AttemptKey], int]) -> None:
        """Take up what an earlier keeper left. Whatever it did not see the end of is lost."""
        other = old.boot_id if old.boot_id != self.boot.boot_id else old.previous_boot_id
        self.boot = self.boot._replace(previous_boot_id=other)
        if old.boot_id == self.boot.boot_id:
            self.contact_s = old.contact_s
        self.seen = old.seen
        for job_id, document in old.jobs.items():
            # What it runs comes with the next session's first start of the job.
            self.jobs[job_id] = JobPlan(document, [], {}, 0.0)
        for key, attempt in old.attempts.items():
            report = attempt.report or lost_report(
                key, attempt.started_at_ms, now_ms, log_bytes(key), attempt.port
            )
            self.attempts[key] = Attempt(key, attempt.document, Ended(), report)

    def add_agent(self, line: Line) -> None:
        """Note a process of the agent itself, or that it left."""
        self._agents[line["kind"]] = line
        self._journal.add(line)

    def add_contact(self, until_s: float) -> None:
        """Note until when a later keeper of this boot shall take it that it was not alone."""
        self.contact_s = until_s
        self._journal.add(_contact_line(until_s))

    def add_job(self, job_id: str, plan: JobPlan) -> None:
        """Remember what a job runs."""
        self.jobs[job_id] = plan
        self._journal.add(_job_line(job_id, plan))

    def add_attempt(self, attempt: Attempt) -> bool:
        """Take in an attempt; False if its id was ever seen."""
        if attempt.key in self.seen:
            return False
        self.seen.add(attempt.key)
        self.attempts[attempt.key] = attempt
        self._journal.add(_start_line(attempt))
        return True

    def add_seen(self, key: AttemptKey) -> None:
        """Remember an id that is not to start any more."""
        if key not in self.seen:
            self.seen.add(key)
            ranges = [SeenRange(key.job_id, key.epoch, key.number, key.task_index, key.task_index)]
            self._journal.add({"kind": "seen", "ranges": ranges})

    def add_port(self, attempt: Attempt, port: ReservedPort) -> None:
        """Put the port of a member of a gang on record."""
        attempt.port = port
        self._journal.add(_port_line(attempt.key, port))

    def add_process(self, attempt: Attempt, pid: int, start_time: int) -> None:
        """Put an attempt's main process on record."""
        assert attempt.report is not None
        attempt.process = {
            "kind": "process",
            "id": str(attempt.key),
            "pid": pid,
            "start_time": start_time,
            "started_at_ms": attempt.report.started_at_ms,
        }
        self._journal.add(attempt.process)

    def add_report(self, attempt: Attempt, report: Report) -> None:
        """Remember how an attempt that still runs is doing."""
        attempt.report = report
        self.changed[attempt.key] = None

    def end(self, attempt: Attempt, report: Report) -> None:
        """Remember how an attempt ended."""
        attempt.phase = Ended()
        attempt.report = report
        attempt.process = None
        if attempt.port is not None:
            attempt.port.close()
            attempt.port = None
        self.changed[attempt.key] = None
        self._journal.add(_end_line(report))

    def forget(self, forget: frames.Forget) -> None:
        """Keep only the ids of attempts that have ended, and nothing of the jobs."""
        for key in map(parse_key, forget.ids):
            attempt = self.attempts.get(key)
            if attempt is not None and isinstance(attempt.phase, Ended):
                del self.attempts[key]
        for job_id in forget.jobs:
            self.jobs.pop(job_id, None)
        self._journal.add({"kind": "forget", "ids": forget.ids, "jobs": forget.jobs})

    def flush(self) -> OSError | None:
        """Write what changed; the error, if it could not be written."""
        return self._journal.flush()

    def messages(self) -> Iterator[frames.Message]:
        """Everything, as a new session is told it."""
        for ranges in self._seen_parts():
            yield frames.Seen(ranges)
        for job_id, plan in list(self.jobs.items()):
            yield frames.KnownJob(job_id, plan.document)
        for attempt in list(self.attempts.values()):
            yield frames.Known(str(attempt.key), attempt.document, attempt.report)
        yield self.boot

    def _lines(self) -> Iterator[Line]:
        """Everything, as a new file holds it."""
        yield from self._agents.values()
        if self.contact_s is not None:
            yield _contact_line(self.contact_s)
        for ranges in self._seen_parts():
            yield {"kind": "seen", "ranges": ranges}
        for job_id, plan in self.jobs.items():
            yield _job_line(job_id, plan)
        for attempt in self.attempts.values():
            yield _start_line(attempt)
            if attempt.port is not None:
                yield _port_line(attempt.key, attempt.port)
            if attempt.process is not None:
                yield attempt.process
            if isinstance(attempt.phase, Ended) and attempt.report is not None:
                yield _end_line(attempt.report)

    def _seen_parts(self) -> Iterator[list[SeenRange]]:
        ranges = self.seen.ranges()
        while part := list(islice(ranges, _RANGES_PER_MESSAGE)):
            yield part


def _contact_line(until_s: float) -> Line:
    return {"kind": "contact", "until_s": until_s}


def _job_line(job_id: str, plan: JobPlan) -> Line:
    return {"kind": "job", "job_id": job_id, "document": plan.document}


def _start_line(attempt: Attempt) -> Line:
    return {"kind": "start", "id": str(attempt.key), "document": attempt.document}


def _port_line(key: AttemptKey, port: ReservedPort) -> Line:
    return {"kind": "port", "id": str(key), "port": port.number}


def _end_line(report: Report) -> Line:
    return {"kind": "end", "id": report.id, "report": report}
