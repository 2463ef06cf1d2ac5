"""`python -m iris_bootstrap`: how the agent starts its own processes."""

import sys

from iris_bootstrap.main import main

if __name__ == "__main__":
    sys.exit(main())
