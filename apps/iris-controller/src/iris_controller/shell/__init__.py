"""Everything that touches the world: store, platforms, agents' streams, clock.

Takes no decision; carries out what the core wants and tells it what happened.
"""
