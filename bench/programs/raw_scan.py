"""The limit of benchmark 9: every live row of a store, read by a process that does nothing else.

`raw_scan.py DATABASE`. Live is what a controller has to know to go on: all tables
but history, which is past attempts and events. Prints the number of rows.
"""

import sqlite3
import sys

LIVE = ("jobs", "job_status", "tasks", "slices", "workers", "standings", "cluster")

db = sqlite3.connect(sys.argv[1])
tables = [db.execute(f"SELECT * FROM {name}").fetchall() for name in LIVE]
print(sum(map(len, tables)))
