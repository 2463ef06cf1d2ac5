"""What Google calls a state, and what Iris calls it: one total map for each enum.

A test asks the API's own enums whether one is missing here. One that a later API
sends says nothing for now: nothing is deleted for a word that nobody knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.cloud.tpu_v2 import Node, QueuedResourceState, Symptom

from iris_platform.base import SliceCloudState, VmState

_Node = Node.State
_Queued = QueuedResourceState.State

# What repairs itself is on its way: whether its hosts work, their agents say.
NODE_STATES: Mapping[int, SliceCloudState] = {
    _Node.STATE_UNSPECIFIED: SliceCloudState.CREATING,
    _Node.CREATING: SliceCloudState.CREATING,
    _Node.READY: SliceCloudState.RUNNING,
    _Node.RESTARTING: SliceCloudState.CREATING,
    _Node.REIMAGING: SliceCloudState.CREATING,
    _Node.DELETING: SliceCloudState.DELETING,
    _Node.REPAIRING: SliceCloudState.CREATING,
    _Node.STOPPED: SliceCloudState.FAILED,
    _Node.STOPPING: SliceCloudState.FAILED,
    _Node.STARTING: SliceCloudState.CREATING,
    _Node.PREEMPTED: SliceCloudState.PREEMPTED,
    # "Due to maintenance, or at the end of its life": of no use any more.
    _Node.TERMINATED: SliceCloudState.FAILED,
    _Node.HIDING: SliceCloudState.FAILED,
    _Node.HIDDEN: SliceCloudState.FAILED,
    _Node.UNHIDING: SliceCloudState.CREATING,
    # "After a failed repair."
    _Node.UNKNOWN: SliceCloudState.FAILED,
}

# The API has no states of single hosts: they are as their node is, and none is left of one that failed.
HOST_STATES: Mapping[SliceCloudState, VmState] = {
    SliceCloudState.CREATING: VmState.BOOTING,
    SliceCloudState.RUNNING: VmState.RUNNING,
    SliceCloudState.DELETING: VmState.TERMINATED,
    SliceCloudState.FAILED: VmState.TERMINATED,
    SliceCloudState.PREEMPTED: VmState.TERMINATED,
}

# Of a queued resource without regard to its nodes; None: it is as they are.
QUEUED_STATES: Mapping[int, SliceCloudState | None] = {
    _Queued.STATE_UNSPECIFIED: None,
    _Queued.CREATING: None,
    _Queued.ACCEPTED: None,
    _Queued.PROVISIONING: None,
    _Queued.FAILED: SliceCloudState.FAILED,
    _Queued.DELETING: SliceCloudState.DELETING,
    _Queued.ACTIVE: None,
    # Its nodes are taken away; by whom, the initiator says (see `reply`).
    _Queued.SUSPENDING: SliceCloudState.FAILED,
    _Queued.SUSPENDED: SliceCloudState.FAILED,
    _Queued.WAITING_FOR_RESOURCES: None,
}
SUSPENDED = frozenset({_Queued.SUSPENDING, _Queued.SUSPENDED})

# In words for people; empty: nothing to tell. No health fails a slice: its agents are the truth.
HEALTHS: Mapping[int, str] = {
    Node.Health.HEALTH_UNSPECIFIED: "",
    Node.Health.HEALTHY: "",
    Node.Health.TIMEOUT: "does not respond",
    Node.Health.UNHEALTHY_TENSORFLOW: "the machine-learning stack on it is unhealthy",
    Node.Health.UNHEALTHY_MAINTENANCE: "under maintenance",
}

SYMPTOMS: Mapping[int, str] = {
    Symptom.SymptomType.SYMPTOM_TYPE_UNSPECIFIED: "a symptom without a name",
    Symptom.SymptomType.LOW_MEMORY: "memory is low",
    Symptom.SymptomType.OUT_OF_MEMORY: "the TPU runtime is out of memory",
    Symptom.SymptomType.EXECUTE_TIMED_OUT: "an execution on the TPU timed out",
    Symptom.SymptomType.MESH_BUILD_FAIL: "the TPUs do not find each other",
    Symptom.SymptomType.HBM_OUT_OF_MEMORY: "the TPU's own memory is full",
    Symptom.SymptomType.PROJECT_ABUSE: "the project is accused of abuse",
}


def node_state(state: int) -> SliceCloudState:
    """A node's state; CREATING, which decides nothing, where this release does not know it."""
    return NODE_STATES.get(state, SliceCloudState.CREATING)


def queued_state(state: int) -> SliceCloudState | None:
    """What a queued resource's state says whatever its nodes are; None: nothing."""
    return QUEUED_STATES.get(state)


def _names(enum: Any) -> dict[int, str]:
    return {int(member): str(member.name) for member in enum}


_NODE_NAMES = _names(_Node)
_QUEUED_NAMES = _names(_Queued)


def node_state_name(state: int) -> str:
    """A node's state in Google's own word."""
    return _NODE_NAMES.get(int(state), f"in state {int(state)}, which this release does not know")


def queued_state_name(state: int) -> str:
    """A queued resource's state in Google's own word."""
    return _QUEUED_NAMES.get(int(state), f"in state {int(state)}, which this release does not know")
