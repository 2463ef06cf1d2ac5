"""A keeper whose session is `relay.py`: HOST_DIR ORPHAN_TIMEOUT SOCKET_NAME [DEAD_MAN…]."""

import sys
from pathlib import Path

from iris_bootstrap.keeper.boot import run_keeper

host_dir, orphan_timeout_s, name, *dead_man = sys.argv[1:]
relay = [sys.executable, str(Path(__file__).with_name("relay.py")), name]
sys.exit(run_keeper(Path(host_dir), float(orphan_timeout_s), None, relay, dead_man or None))
