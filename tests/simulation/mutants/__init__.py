"""Rules that are broken on purpose, to see the simulator object.

Each function breaks one rule of the core, of its shell as `controller` has it,
or of the agent; some bring back a bug that was found here. `test_bites` plays
seeds until one objects, beginning with the one that did so when this was written.
"""

from tests.simulation.mutants import clouds, fences, fleet, gangs, leases, memory, tasks
from tests.simulation.mutants.registry import MUTANTS

__all__ = ["MUTANTS", "clouds", "fences", "fleet", "gangs", "leases", "memory", "tasks"]
