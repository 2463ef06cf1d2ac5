"""Structured logs on stderr: one JSON object a line, for the service manager."""

from __future__ import annotations

import json
import logging


class JsonFormatter(logging.Formatter):
    """`time level logger message`, and `trace` where there is an exception."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        fields = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["trace"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


def set_up(level: str) -> None:
    """Sends every log record to stderr in this form."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # These talk about themselves at debug level.
    for library in ("grpc", "asyncio"):
        logging.getLogger(library).setLevel(logging.INFO)
    # Two lines for every connection, of which there are many; what fails we say ourselves.
    logging.getLogger("paramiko").setLevel(logging.WARNING)
