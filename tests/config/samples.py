"""A machine and texts for tests of the configuration."""

from pathlib import Path

from iris_config import ConfigError, IrisConfig, MachineFacts, parse_config

GIB = 1024**3
MACHINE = MachineFacts(cores=2, memory_bytes=16 * GIB)
EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"

# The block of the requirement, with the name that it lacks.
REQUIREMENT = """\
name: demo
scale_groups:
  tpu_v5e_16:
    provider:
      tpu:
        project_id: hai-gcp-models
    accelerator_type: v5litepod-16
    zones: [europe-west4-b]

  manual_workers:
    provider:
      manual:
        hosts: [10.0.0.1, 10.0.0.2]
        ssh_user: ray
    accelerator_type: cpu
    zones: [local]
"""


def load(text: str) -> IrisConfig:
    """A configuration on a machine of 2 cores and 16 GiB."""
    return parse_config(text, source="demo.yaml", machine=MACHINE)


def local_group(*lines: str, name: str = "demo") -> str:
    """A cluster of one local group, `here`, with more lines in it."""
    head = [f"name: {name}", "scale_groups:", "  here:", "    provider: {local: {}}"]
    return "\n".join([*head, *(f"    {line}" for line in lines)]) + "\n"


def problems(text: str) -> list[str]:
    """The lines that an operator would read."""
    try:
        load(text)
    except ConfigError as error:
        return str(error).splitlines()
    return []
