"""`python -m iris_cli` is `iris`."""

import sys

from iris_cli.main import main

if __name__ == "__main__":
    sys.exit(main())
