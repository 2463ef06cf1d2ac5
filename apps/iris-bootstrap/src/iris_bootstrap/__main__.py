"""`python -m iris_bootstrap`: how the agent starts its own processes."""

import sys

from iris_bootstrap.main import main

sys.exit(main())
