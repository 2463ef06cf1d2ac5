"""Following a job: streams that survive a restart of the controller."""
