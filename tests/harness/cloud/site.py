"""The model in a world of threads and time: one lock, one clock, orders carried out in order."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.harness.cloud.cloud import About, Answer, Cloud
from tests.harness.cloud.faults import Fault
from tests.harness.cloud.identity import Signer
from tests.harness.cloud.metadata import Question, Reply, answer, leave
from tests.harness.cloud.settings import Settings
from tests.harness.cloud.vms import Vms

# How long nobody looks whether something is due, at most.
TICK_S = 0.5
# How long metadata servers keep anybody waiting for a change.
LONGEST_WAIT_S = 600.0


class Clock:
    """The wall clock, with what was added to it; or one that only moves when it is told to."""

    def __init__(self, *, stopped: bool = False) -> None:
        self._added_ms = 0
        self._stopped_at = time.time() * 1000 if stopped else None

    def now_ms(self) -> int:
        """Milliseconds since 1970."""
        now = time.time() * 1000 if self._stopped_at is None else self._stopped_at
        return int(now) + self._added_ms

    def add(self, ms: int) -> None:
        """So much later, all at once."""
        self._added_ms += ms


class Site:
    """One cloud with its clock and its VMs; safe to use from any thread."""

    def __init__(self, settings: Settings, vms: Vms, clock: Clock) -> None:
        self.vms = vms
        self.signer = Signer(clock.now_ms())
        self.clock = clock
        self._changed = threading.Condition(threading.RLock())
        self._cloud = Cloud(settings, clock.now_ms(), vms.place)
        self._closed = False
        vms.attach(self.metadata)
        self._ticker = threading.Thread(target=self._tick, name="cloud-ticker", daemon=True)
        self._ticker.start()

    @contextmanager
    def open(self) -> Iterator[Cloud]:
        """The model as of now, for oneself; what it orders is carried out at the end."""
        with self._changed:
            self._cloud.advance(self.clock.now_ms())
            try:
                yield self._cloud
            finally:
                # What was asked for just now may be due just now.
                self._cloud.advance(self.clock.now_ms())
                for order in self._cloud.world.machines.take_orders():
                    self.vms.carry_out(order)
                for name in self._cloud.world.machines.take_forgotten():
                    self.vms.forget_disk(name)
                self._changed.notify_all()

    def call_tpu(self, method: str, request: Any, via: str, *, credentials: bool) -> Answer:
        """One call of the TPU API."""
        with self.open() as cloud:
            return cloud.call_tpu(method, request, via, credentials=credentials)

    def act(self, about: About, act: Callable[[Cloud, tuple[Fault, ...]], Any]) -> Answer:
        """One call of another API."""
        with self.open() as cloud:
            return cloud.act(about, lambda faults: act(cloud, faults))

    def wait_for(self, met: Callable[[Cloud], bool], timeout_s: float) -> bool:
        """Waits until the model is so; False at the deadline."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or met(self._cloud), timeout_s)
            return met(self._cloud)

    def metadata(self, key: str, question: Question) -> Reply:
        """What the metadata server of a VM answers; waits for another answer where that is asked for."""

        def look(cloud: Cloud) -> Reply:
            vm = cloud.world.machines.find(key)
            if vm is None:
                return Reply(404, "")
            if question.put is not None:
                return leave(question.path, question.put, vm)
            number = cloud.world.settings.projects[vm.project]
            return answer(question, vm, number, self.signer, cloud.world.timeline.now_ms)

        with self.open() as cloud:
            reply = look(cloud)
        if question.wait:
            known = question.last_etag or reply.etag
            wait_s = min(question.timeout_s or LONGEST_WAIT_S, LONGEST_WAIT_S)
            self.wait_for(lambda cloud: look(cloud).etag != known, wait_s)
            with self.open() as cloud:
                reply = look(cloud)
        return reply

    def _tick(self) -> None:
        with self._changed:
            while not self._closed:
                due = self._cloud.world.timeline.next_ms
                now = self.clock.now_ms()
                if due is not None and due <= now:
                    with self.open():
                        continue
                wait = TICK_S if due is None else min(TICK_S, (due - now) / 1000)
                self._changed.wait(wait)

    def close(self) -> None:
        """Stops the time and takes the VMs away."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._ticker.join()
        self.vms.close()
