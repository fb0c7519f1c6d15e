"""Counting and logging."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families

from server import logs
from server.metrics import Histogram, Metrics


def test_buckets_are_cumulative():
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 9.0):
        histogram.observe(value)
    assert histogram.buckets() == [("1.0", 2.0), ("2.0", 3.0), ("+Inf", 4.0)]
    assert histogram.total == 12.0


def test_the_exposition_can_be_read_and_names_what_runs():
    metrics = Metrics()
    stats = metrics.method("holdfast.v1.AdminService/Drain")
    stats.ended(0, 0.003)
    stats.ended(14, 0.004)
    metrics.refused("OVERLOADED", 3)
    metrics.batch_commands.observe(7)
    families = {
        family.name: family for family in text_string_to_metric_families(metrics.text().decode())
    }
    calls = {sample.labels["code"]: sample.value for sample in families["holdfast_calls"].samples}
    assert calls == {"OK": 1.0, "UNAVAILABLE": 1.0}
    refusals = families["holdfast_refusals"].samples
    assert [(s.labels["reason"], s.value) for s in refusals] == [("OVERLOADED", 3.0)]
    build = families["holdfast_build_info"].samples[0].labels
    assert set(build) == {"version", "python", "grpc", "numpy", "numba"}
    assert "process_cpu_seconds" in families


def test_a_method_is_told_from_its_first_call_on():
    metrics = Metrics()
    never, under_way = (metrics.method(f"holdfast.v1.AdminService/{name}") for name in ("A", "B"))
    under_way.in_flight = 1

    def told() -> set[str]:
        return {
            sample.labels["method"]
            for family in text_string_to_metric_families(metrics.text().decode())
            if family.name.startswith("holdfast_call")
            for sample in family.samples
        }

    assert told() == {"holdfast.v1.AdminService/B"}
    never.ended(0, 0.003)
    assert told() == {"holdfast.v1.AdminService/A", "holdfast.v1.AdminService/B"}


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where the log goes for one test."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield io.StringIO()
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def test_json_lines_have_one_object_each(stream: io.StringIO):
    logs.configure(form="json", level="info", stream=stream)
    logs.get("room").info("something happened", count=3)
    logs.get("room").debug("not worth a line")
    try:
        raise ValueError("lost")
    except ValueError as fault:
        logs.get("room").error("it failed", exc_info=fault)
    logging.getLogger("grpc").warning("their word %d", 7)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["something happened", "it failed", "their word 7"]
    assert lines[0]["count"] == 3
    assert lines[0]["room"] == "room"
    assert lines[0]["timestamp"].endswith("Z")
    assert "ValueError: lost" in lines[1]["exception"]


def test_text_lines_are_key_value(stream: io.StringIO):
    logs.configure(form="text", level="warning", stream=stream)
    logs.get("room").info("quiet")
    logs.get("room").warning("look here", path="a b")
    (line,) = stream.getvalue().splitlines()
    assert 'level=warning event="look here"' in line
    assert 'path="a b"' in line


def test_a_caller_that_is_gone_writes_no_traceback(stream: io.StringIO):
    """gRPC's own words for it, as grpcio 1.85 says them; its other errors are told."""
    logs.configure(form="json", level="info", stream=stream)
    log = logging.getLogger("grpc._cython.cygrpc")
    log.error("ExecuteBatchError raised in core by servicer method [%s]", "/a/B", exc_info=True)
    log.error("Unexpected [%s] raised by servicer method [%s]", "ValueError", "/a/B")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == [
        "Unexpected [ValueError] raised by servicer method [/a/B]"
    ]
