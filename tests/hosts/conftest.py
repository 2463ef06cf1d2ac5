"""A lab for the tests of this folder; they skip where no host can be made."""

from tests.harness.hosts.fixtures import lab, pytest_fixture_setup, pytest_pyfunc_call
from tests.hosts.ticking import quick

__all__ = ["lab", "pytest_fixture_setup", "pytest_pyfunc_call", "quick"]
