"""What `iris doctor` looks at: this machine, its ports, and each host. Changes nothing anywhere."""
