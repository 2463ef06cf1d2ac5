"""A coverage-guided fuzzer of the configuration loader (B5).

    pip install atheris
    python -m tests.config.fuzz -max_total_time=600 FINDINGS tests/config/corpus

Atheris is no dependency of the tests, since it has no wheels for some of the
Pythons that Iris runs on. What it finds is mended and joins `corpus/`, which
`test_robust.py` plays; `-merge=1` keeps the corpus small.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["iris_config", "yaml"]):
    from iris_config import ConfigError, MachineFacts, parse_config

MACHINE = MachineFacts(cores=2, memory_bytes=1 << 34)


def load_or_explain(data: bytes) -> None:
    """What every input must end in: a configuration that comes back as it was, or an error."""
    text = data.decode("utf-8", "replace")
    try:
        config = parse_config(text, source="f", machine=MACHINE, environment={"A": "1"})
    except ConfigError as error:
        found = error
    else:
        again = parse_config(config.to_yaml(), source="g", machine=MACHINE, environment={})
        assert again == config
        return
    assert found.problems and all(problem.message for problem in found.problems)
    assert str(found)


if __name__ == "__main__":
    atheris.Setup(sys.argv, load_or_explain)
    atheris.Fuzz()
