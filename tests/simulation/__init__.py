"""The core and codec of the controller under a virtual clock, with everything around them simulated.

From one seed: a cloud, agents, users, and faults in all of them. See `simulation`.
"""
