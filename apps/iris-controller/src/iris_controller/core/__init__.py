"""The controller's decisions: a state machine without I/O, clock or randomness.

`step` is the only door. Start reading at `world`, then `step`.
"""
