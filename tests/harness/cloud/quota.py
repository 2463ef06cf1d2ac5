"""How much there may be, how much there is, and how often one may ask.

Quota is what a project may have in a zone, in chips of a generation, spot or
not; capacity is what a zone has, in slices of an accelerator type; a rate is
calls of a method in any minute. None of them has a limit until one is set.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from iris_config.accelerators import Accelerator, find_accelerator
from tests.harness.cloud import errors

MINUTE_MS = 60_000
# Parts of the name of a quota, before and after "Preemptible".
LIMITS: Mapping[str, tuple[str, str]] = {
    "v2": ("TPUV2", "Pod"),
    "v3": ("TPUV3", "Pod"),
    "v4": ("TPUV4s", "Pod"),
    "v5e": ("TPUV5s", "Litepod"),
    "v5p": ("TPUV5P", ""),
    "v6e": ("TPUV6E", ""),
}
METRICS: Mapping[str, str] = {
    "CreateNode": "Maximum number of CreateNode requests",
    "CreateQueuedResource": "Maximum number of CreateQueuedResource requests",
}


class Limits:
    """The limits that are set; whoever keeps the resources says how much is used."""

    def __init__(self, rates: Mapping[str, int]) -> None:
        self._quota: dict[tuple[str, str, str, bool], int] = {}
        self._capacity: dict[tuple[str, str], int] = {}
        self._rates = dict(rates)
        self._calls: dict[tuple[str, str], deque[int]] = {}

    def set_quota(self, project: str, zone: str, generation: str, spot: bool, chips: int | None) -> None:
        """None: no limit."""
        key = project, zone, generation, spot
        if chips is None:
            self._quota.pop(key, None)
        else:
            self._quota[key] = chips

    def set_capacity(self, zone: str, accelerator_type: str, slices: int | None) -> None:
        """None: no limit."""
        key = zone, find_accelerator(accelerator_type).accelerator_type
        if slices is None:
            self._capacity.pop(key, None)
        else:
            self._capacity[key] = slices

    def set_rate(self, method: str, calls: int | None) -> None:
        """Calls in any minute; None: as many as one likes."""
        if calls is None:
            self._rates.pop(method, None)
        else:
            self._rates[method] = calls

    def over_quota(
        self, project: str, zone: str, accelerator: Accelerator, spot: bool, chips: int
    ) -> errors.ApiError | None:
        """The error if a project had so many chips."""
        limit = self._quota.get((project, zone, accelerator.generation, spot))
        if limit is None or chips <= limit:
            return None
        return errors.quota(limit_name(accelerator.generation, spot), limit, zone)

    def has_room(self, zone: str, accelerator_type: str, slices: int) -> bool:
        """Whether a zone has so many slices of a type."""
        limit = self._capacity.get((zone, accelerator_type))
        return limit is None or slices <= limit

    def count_call(self, method: str, project: str, number: int, now_ms: int) -> None:
        """Counts a call that is let in.

        Raises:
            ApiError: there were too many in the last minute; this one does not count.
        """
        limit = self._rates.get(method)
        calls = self._calls.setdefault((method, project), deque())
        while calls and calls[0] <= now_ms - MINUTE_MS:
            calls.popleft()
        if limit is not None and len(calls) >= limit:
            raise errors.rate_limit(METRICS.get(method, f"{method} requests"), str(number), limit)
        calls.append(now_ms)


def limit_name(generation: str, spot: bool) -> str:
    """As quotas are called in messages."""
    head, tail = LIMITS[generation]
    return f"{head}{'Preemptible' if spot else ''}{tail}PerProjectPerZoneForTPUAPI"
