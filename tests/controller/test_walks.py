"""Random histories through the one door: after every batch the invariants hold, and the rows are enough.

`Scene.batch` checks `problems`; `Walk.check` restores the world from its rows and compares.
"""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.controller.walks import Step, Walk

STEP = st.tuples(st.integers(0, 15), st.integers(0, 7), st.integers(0, 7))


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example, HealthCheck.data_too_large],
)
@given(st.lists(STEP, min_size=40, max_size=120))
def test_any_history_keeps_the_invariants_and_survives_a_restart(program: list[Step]) -> None:
    Walk().play(program)
