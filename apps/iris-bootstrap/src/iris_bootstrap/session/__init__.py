"""The process that talks to the controller: asyncio, gRPC, and no say over processes.

It may die at any moment: what must be remembered is with the keeper, which
tells the next session everything.
"""
