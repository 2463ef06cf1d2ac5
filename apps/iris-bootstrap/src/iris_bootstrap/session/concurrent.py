"""Coroutines that stand and fall together. (`asyncio.TaskGroup` came with Python 3.11.)"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

# `asyncio.wait_for` before Python 3.12 loses a cancellation that arrives just as
# what it waits for is done; who has not heard by then is told again.
_TELL_AGAIN_S = 0.5


async def run_until_first(*coroutines: Coroutine[object, object, None]) -> None:
    """Run all until the first has ended, cancel the others and wait for them; its error is raised.

    None outlives the call, cancelled or not.
    """
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        pending = {task for task in tasks if not task.done()}
        while pending:
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=_TELL_AGAIN_S)
        # Asked for, so that asyncio does not report as lost what the first error has caused.
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        if not task.cancelled():
            task.result()
    if all(task.cancelled() for task in done):
        # Not by us: gRPC does so to whoever waits for a stream that is given up.
        raise asyncio.InvalidStateError("what was waited for has been given up")
