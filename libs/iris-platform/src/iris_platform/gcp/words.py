"""What Google's words mean for the caller's next move, whichever of its interfaces says them.

Wordings seen:

- "There is no more capacity in the zone "us-central1-a"; you can try in another zone …"
- "Insufficient reserved capacity. Contact customer support to increase your reservation."
- "Quota limit 'TPUV6EPreemptiblePerProjectPerZoneForTPUAPI' has been exceeded. Limit: 0 in …"
- "Quota 'TPUV5sLitepodServingPerProjectPerZoneForTPUAPI' exhausted. Limit 4 in zone …"
- "Quota exceeded for quota metric '…' and limit '… per minute' of service …"
- "Resource has been exhausted (e.g. check quota).": what Google's front ends say of too many calls
- "ZONE_RESOURCE_POOL_EXHAUSTED", "rateLimitExceeded", "quotaExceeded": Compute Engine's reasons
"""

from __future__ import annotations

import re

from iris_platform.base import NoCapacity, PermissionMissing, PlatformError, QuotaExceeded, RateLimited

# In this order: a limit of calls is a "quota" too.
_WORDS: tuple[tuple[re.Pattern[str], type[PlatformError]], ...] = (
    (re.compile(r"per (minute|second|day)|rate.?limit|too many requests|check quota", re.I), RateLimited),
    (
        re.compile(
            r"no more capacity|insufficient (reserved )?capacity|not enough (resources|capacity)"
            r"|stock.?out|resource_pool_exhausted|enough resources available|currently unavailable in"
            r"|preempted|valid.?until",
            re.I,
        ),
        NoCapacity,
    ),
    (re.compile(r"quota", re.I), QuotaExceeded),
    (
        re.compile(r"reauthentication|invalid_grant|invalid_client|unauthorized_client", re.I),
        PermissionMissing,
    ),
)


def kind_of(words: str) -> type[PlatformError] | None:
    """The class of an error by its words; None where they leave it to the code."""
    return next((kind for pattern, kind in _WORDS if pattern.search(words)), None)
