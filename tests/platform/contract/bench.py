"""What the contract suite asks of each platform's bench.

A bench sets up one cluster of one provider, real or a stand-in, and can do to
it what providers and operators do: interrupt a call, hide the provider, put
something there that is not ours.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from iris_platform import ClusterIdentity, Platform
from iris_platform.base import SliceSpec
from iris_proto.v1.config_pb2 import ScaleGroupConfig

IDENTITY = ClusterIdentity("demo", "abcdefghij")
OTHER = ClusterIdentity("demo", "zzzzzzzzzz")


class Bench(Protocol):
    """One cluster of one provider. Its zones are `zones`, two of them."""

    zones: tuple[str, str]

    def platform(
        self, zones: tuple[str, ...] | None = None, identity: ClusterIdentity = IDENTITY
    ) -> Platform:
        """A platform as new as a restarted controller's; by default of the first zone."""
        ...

    def group(self, name: str = "here", hosts: int = 1) -> ScaleGroupConfig:
        """An effective group of this provider in the first zone."""
        ...

    def spec(self, name: str, hosts: int = 1, identity: ClusterIdentity = IDENTITY) -> SliceSpec:
        """A slice of group `here`."""
        ...

    def interrupt_creation(self, name: str, hosts: int) -> None:
        """Create a slice and die after it was accepted, before it is whole."""
        ...

    def interrupt_deletion(self, name: str) -> None:
        """Delete a running slice and die half way."""
        ...

    def settle(self) -> None:
        """Whatever the provider has under way is done, where it takes its time."""
        ...

    def hidden(self) -> AbstractContextManager[None]:
        """The provider cannot be looked at meanwhile."""
        ...

    def kill_host(self, name: str, index: int) -> None:
        """One machine of a slice dies, with all that runs on it."""
        ...

    def say(self, name: str, index: int, text: str) -> None:
        """The agent of one host of a slice says something more."""
        ...

    def what_runs(self) -> list[str]:
        """Everything of this cluster that exists, seen past the platform."""
        ...
