"""People: they submit jobs, stop some of them, stop the whole cluster, and ask again when no answer comes."""

from __future__ import annotations

from random import Random

from iris_controller.codec.wire import job_spec_from_bytes
from iris_controller.core import effects as fx
from iris_controller.core import events as e
from iris_controller.core.values import JobSpec, Reason
from tests.simulation.engine import Action
from tests.simulation.oracle import Oracle
from tests.simulation.scene import is_endless, make_job
from tests.simulation.site import Site
from tests.simulation.stage import Stage

STOP_WORD = Reason("cluster_stop", "the cluster is being stopped")


class Users:
    """Everybody who talks to the controller."""

    def __init__(self, stage: Stage, site: Site, oracle: Oracle) -> None:
        self._stage = stage
        self._site = site
        self._oracle = oracle
        self._random = stage.random("users")
        self._job_ids = 0
        self._stopping = False
        self.waiting = 0

    def start(self) -> None:
        """Makes up what they will want while faults are on."""
        scene = self._stage.scene
        for number in range(scene.jobs):
            at_ms = self._random.randint(0, scene.faults_ms * 3 // 4)
            self._plan_job(number, at_ms, Random(f"{scene.seed}/job/{number}"))

    def _plan_job(self, number: int, at_ms: int, random: Random) -> None:
        spec = job_spec_from_bytes(make_job(self._stage.scene, number, random).SerializeToString())
        stops = random.random() < 0.3 or is_endless(spec)
        stop_ms = random.randint(0, 150_000 if is_endless(spec) else 60_000) if stops else None
        self.waiting += 1
        self._stage.engine.after(at_ms, lambda: self._submit(f"request-{number}", spec, stop_ms))

    # -- jobs ------------------------------------------------------------------

    def _submit(self, request_id: str, spec: JobSpec, stop_ms: int | None) -> None:
        self._job_ids += 1
        event = e.JobSubmitted(request_id, f"j{self._job_ids:04d}", spec)

        def reply(answer: fx.Answer | None) -> None:
            match answer:
                case None | fx.Refusal(fx.RefusalKind.NOT_NOW):
                    self._again(lambda: self._submit(request_id, spec, stop_ms))
                case fx.JobAnswer(job_id):
                    self._accepted(request_id, job_id, spec, stop_ms)
                case _:
                    self.waiting -= 1

        self._site.ask(event, reply)

    def _accepted(self, request_id: str, job_id: str, spec: JobSpec, stop_ms: int | None) -> None:
        self._stage.story.tell("user", f"{request_id} is {job_id}: {spec.replicas} x {spec.resources}")
        self._oracle.on_accepted(request_id, job_id)
        if self._stage.faults.hits("copied_at_submit"):
            # Its tasks wait in this copy, and will run when it comes back.
            self._site.back_up()
        if self._stage.faults.hits("request_twice"):
            self._again(lambda: self._submit(request_id, spec, stop_ms))
        elif stop_ms is not None:
            self._stage.engine.after(stop_ms, lambda: self._stop(job_id))
        else:
            self.waiting -= 1

    def _stop(self, job_id: str) -> None:
        def reply(answer: fx.Answer | None) -> None:
            if answer is None:
                self._again(lambda: self._stop(job_id))
            elif isinstance(answer, fx.Refusal):
                self._oracle.on_stop_refused(job_id, answer)
                self.waiting -= 1
            else:
                self._stage.story.tell("user", f"stop of {job_id}: {answer}")
                self._oracle.on_stop_accepted(job_id)
                self.waiting -= 1

        self._site.ask(e.JobStopRequested(job_id), reply)

    def stop_endless(self) -> None:
        """Stops what came back with an older store, or was never there when it was to be stopped."""
        for status in list(self._oracle.statuses.values()):
            job = self._oracle.jobs[status.job_id]
            # What is left of a gang of which a member was forgotten waits for it for ever.
            endless = is_endless(job.spec) or (job.adopted and job.spec.is_gang)
            if not status.state.is_terminal and status.stop is None and endless:
                self.waiting += 1
                self._stop(status.job_id)

    # -- the cluster -------------------------------------------------------------

    def stop_cluster(self, for_ms: int | None) -> bool:
        """Gives everything back, for a while or for good; False while that is going on already."""
        if self._stopping:
            return False
        self._stopping = True
        self.waiting += 1

        def begun() -> None:
            self.waiting -= 1
            if for_ms is not None:
                self.waiting += 1
                self._stage.engine.after(for_ms, lambda: self._insist(e.ShutdownEnded(), self._resumed))

        self._insist(e.ShutdownBegun(STOP_WORD), begun)
        return True

    def resume_cluster(self) -> None:
        """Starts a cluster that an older store believes to be stopped."""
        if self._oracle.rows.cluster.stopping is not None and not self._stopping:
            self._stopping = True
            self.waiting += 1
            self._insist(e.ShutdownEnded(), self._resumed)

    def _resumed(self) -> None:
        self.waiting -= 1
        self._stopping = False

    def _insist(self, event: e.Event, then: Action) -> None:
        def reply(answer: fx.Answer | None) -> None:
            if answer is None:
                self._again(lambda: self._insist(event, then))
            else:
                self._stage.story.tell("user", f"{event}: {answer}")
                then()

        self._site.ask(event, reply)

    def _again(self, action: Action) -> None:
        self._stage.engine.after(self._random.randint(100, 5_000), action)
