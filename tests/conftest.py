"""What holds for every test."""

from __future__ import annotations

import os

# Google's libraries otherwise look for a metadata server, which is not for tests to dial.
os.environ["NO_GCE_CHECK"] = "true"
