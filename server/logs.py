"""The log: one event a line, ``key=value`` for people or JSON for machines, on standard error.

Events are named by short sentences in lower case; what varies is in the keys. Nothing is logged
for a call that went well unless ``log_requests`` says so.
"""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import structlog


def configure(*, form: str, level: str, stream: TextIO | None = None) -> None:
    """Set the log up, once a process. `form` is text or json, `level` a name of `logging`'s."""
    severity = getattr(logging, level.upper())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
    last: structlog.typing.Processor
    if form == "json":
        last = structlog.processors.JSONRenderer(sort_keys=False)
    else:
        last = structlog.processors.LogfmtRenderer(
            key_order=["timestamp", "level", "event"], drop_missing=True, bool_as_flag=False
        )
    target = stream if stream is not None else sys.stderr
    structlog.configure(
        processors=[*shared, last],
        wrapper_class=structlog.make_filtering_bound_logger(severity),
        logger_factory=structlog.WriteLoggerFactory(file=target),
        cache_logger_on_first_use=False,
    )
    # gRPC and asyncio speak through logging: the same form, the same place.
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
            foreign_pre_chain=[
                structlog.stdlib.add_logger_name,
                structlog.stdlib.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.format_exc_info,
            ],
        )
    )
    logging.getLogger("grpc._cython.cygrpc").addFilter(_is_news)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(severity, logging.WARNING))


def _is_news(record: logging.LogRecord) -> bool:
    """Not that a caller was gone before its answer: gRPC tells it with a traceback, which anybody
    could have written by the thousand."""
    return not str(record.msg).startswith("ExecuteBatchError raised in core by servicer method")


def get(name: str) -> structlog.typing.FilteringBoundLogger:
    """The log of the room `name`."""
    log: structlog.typing.FilteringBoundLogger = structlog.get_logger(room=name)
    return log
