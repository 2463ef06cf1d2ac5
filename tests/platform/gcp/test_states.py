"""Every state that Google's API has is somewhere in our maps."""

from typing import Any

import pytest
from google.cloud import tpu_v2

from iris_platform.base import SliceCloudState, VmState
from iris_platform.gcp import states


@pytest.mark.parametrize(
    ("enum", "table"),
    [
        (tpu_v2.Node.State, states.NODE_STATES),
        (tpu_v2.QueuedResourceState.State, states.QUEUED_STATES),
        (tpu_v2.Node.Health, states.HEALTHS),
        (tpu_v2.Symptom.SymptomType, states.SYMPTOMS),
        (SliceCloudState, states.HOST_STATES),
    ],
)
def test_no_member_is_missing(enum: Any, table: Any) -> None:
    assert list(table) == list(enum)


def test_hosts_that_are_gone_do_not_run() -> None:
    running = [state for state, host in states.HOST_STATES.items() if host is VmState.RUNNING]
    assert running == [SliceCloudState.RUNNING]


def test_a_state_of_a_later_api_decides_nothing() -> None:
    assert states.node_state(77) is SliceCloudState.CREATING
    assert states.queued_state(77) is None
    assert states.node_state_name(77) == "in state 77, which this release does not know"
    assert states.queued_state_name(77) == "in state 77, which this release does not know"
    assert states.node_state_name(tpu_v2.Node.State.PREEMPTED) == "PREEMPTED"
