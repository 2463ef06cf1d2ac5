"""Coroutines that stand and fall together. (`asyncio.TaskGroup` came with Python 3.11.)"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine


async def run_until_first(*coroutines: Coroutine[object, object, None]) -> None:
    """Run all until the first has ended, cancel the others and wait for them; its error is raised.

    None outlives the call, cancelled or not.
    """
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
