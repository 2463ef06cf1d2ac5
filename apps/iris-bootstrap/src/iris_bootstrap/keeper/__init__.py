"""The process that outlives everything else on a host: parent of every task.

Standard library and `iris_platform.processes` only; one thread, no asyncio.
It knows no protobuf, no network and no controller: the session brings it
orders over a pipe (`frames`) and takes reports away.
"""
