"""A raw fan-out with asyncssh, for benchmark 6: one connection to each host, three commands.

Runs in an environment of asyncssh's own. A line says what goes where; the answer is the
exit status of each host's startup script.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import asyncssh  # type: ignore[import-not-found] # in the environment of the peer


async def start(host: "dict[str, Any]", order: "dict[str, Any]", bundle: bytes) -> int:
    """One host, from its connection to its agent."""
    async with asyncssh.connect(
        host["address"],
        host["port"],
        username="root",
        client_keys=[order["key"]],
        known_hosts=None,
        config=[],
        agent_path=None,
    ) as connection:
        script = Path(host["script"]).read_bytes()
        for data, path in ((bundle, order["bundle"][1]), (script, order["script"])):
            await connection.run(f"cat > {path}", input=data, encoding=None, check=True)
        done = await connection.run(f"sh {order['script']} start", input=host["token"] + "\n")
        if done.exit_status:
            print(done.stdout, done.stderr, file=sys.stderr, flush=True)
        return int(done.exit_status or 0)


async def start_all(order: "dict[str, Any]") -> "list[int]":
    """All hosts, so many at a time."""
    bundle = Path(order["bundle"][0]).read_bytes()
    room = asyncio.Semaphore(order["parallel"])

    async def one(host: "dict[str, Any]") -> int:
        async with room:
            return await start(host, order, bundle)

    return await asyncio.gather(*map(one, order["hosts"]))


for line in sys.stdin:
    print(json.dumps(asyncio.run(start_all(json.loads(line)))), flush=True)
