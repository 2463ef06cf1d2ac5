"""The agent on each VM: joins the controller and runs tasks."""

__version__ = "0.1.0"
