"""What the server counts, and the port Prometheus reads it from.

Counting happens in plain lists and integers (an increment costs 0.1 us, prometheus-client's 0.7 us
and its labels 2 us more); a collector turns them into metric families when Prometheus asks. Gauges
of the ledger are read from the state at that moment, on the event loop, so they never race a write.

Names: ``holdfast_`` + what + unit; rates, errors and durations by method under ``holdfast_call``.
"""

from __future__ import annotations

import asyncio
import platform
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata

import grpc
import prometheus_client
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

# Upper bounds in seconds, from a call that only reads to one that waits for a slow disk.
SECONDS = (
    *(0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.075),
    *(0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
COMMANDS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 16384, 65536)

CODE_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}


class Histogram:
    """Counts of observations by upper bound."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value. O(log bounds)."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative counts as Prometheus wants them."""
        running = 0
        rows = []
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            running += count
            rows.append(("+Inf" if bound == float("inf") else repr(float(bound)), float(running)))
        return rows


class MethodStats:
    """Rate, errors and durations of one method."""

    __slots__ = ("codes", "in_flight", "items", "seconds")

    def __init__(self) -> None:
        self.codes = [0] * 17
        self.seconds = Histogram(SECONDS)
        self.in_flight = 0
        self.items = 0
        """Messages of a stream, or requests of a bulk message."""

    def ended(self, code: int, seconds: float) -> None:
        """A call ended with this gRPC code."""
        self.codes[code] += 1
        self.seconds.observe(seconds)


class Metrics(Collector):
    """Everything the server counts. One a process."""

    def __init__(self) -> None:
        self.methods: dict[str, MethodStats] = {}
        self.refusals: dict[str, int] = {}
        self.batch_commands = Histogram(COMMANDS)
        self.queue_seconds = Histogram(SECONDS)
        self.journal_seconds = Histogram(SECONDS)
        self.apply_seconds = Histogram(SECONDS)
        self.expiry_lag_seconds = Histogram(SECONDS)
        self.batch_bytes = 0
        self.decode_fallbacks = 0
        self.sold_out_early = 0
        self.shortfall_moves = 0
        self.watches = 0
        self.watch_coalesced = 0
        self.certificate_reloads = 0
        self.certificate_reload_failures = 0
        self._gauges: list[Callable[[], Iterable[Metric]]] = []
        self.registry = CollectorRegistry()
        self.registry.register(self)
        prometheus_client.ProcessCollector(registry=self.registry)
        prometheus_client.GCCollector(registry=self.registry)
        info = InfoMetricFamily("holdfast_build", "What is running.")
        info.add_metric([], build_info())
        self._info = info

    def method(self, name: str) -> MethodStats:
        """The statistics of a method, by its full name."""
        return self.methods.setdefault(name, MethodStats())

    def refused(self, reason: str, count: int = 1) -> None:
        """Calls, or items of them, were refused for this reason."""
        self.refusals[reason] = self.refusals.get(reason, 0) + count

    def add_gauges(self, source: Callable[[], Iterable[Metric]]) -> None:
        """Ask `source` too whenever Prometheus asks."""
        self._gauges.append(source)

    def describe(self) -> Iterable[Metric]:
        """Nothing before the first collection: families depend on what was called."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All families as they stand."""
        yield self._info
        yield from self._calls()
        refusals = CounterMetricFamily(
            "holdfast_refusals",
            "Refusals by reason, those inside bulk replies too.",
            None,
            ["reason"],
        )
        for reason, count in sorted(self.refusals.items()):
            refusals.add_metric([reason], count)
        yield refusals
        for name, text, histogram in (
            ("holdfast_batch_commands", "Commands applied in one batch.", self.batch_commands),
            ("holdfast_queue_seconds", "Age of a command when it is applied.", self.queue_seconds),
            ("holdfast_apply_seconds", "Time the ledger took for a batch.", self.apply_seconds),
            (
                "holdfast_expiry_lag_seconds",
                "How late the earliest hold of an expiring batch was released.",
                self.expiry_lag_seconds,
            ),
            (
                "holdfast_journal_seconds",
                "Time from the journal getting a batch until it is durable.",
                self.journal_seconds,
            ),
        ):
            family = HistogramMetricFamily(name, text)
            family.add_metric([], histogram.buckets(), histogram.total)
            yield family
        for name, text, value in (
            (
                "holdfast_decode_fallbacks",
                "Creates that the compiled decoder left to protobuf.",
                self.decode_fallbacks,
            ),
            (
                "holdfast_sold_out_early",
                "Requests refused for lack of stock before the ledger was asked.",
                self.sold_out_early,
            ),
            (
                "holdfast_shortfall_moves",
                "Reservations that REPLAN moved away from a shortfall.",
                self.shortfall_moves,
            ),
            ("holdfast_journal_bytes", "Bytes of commands given to the journal.", self.batch_bytes),
            (
                "holdfast_certificate_reloads",
                "Certificates read anew because the files changed.",
                self.certificate_reloads,
            ),
            (
                "holdfast_certificate_reload_failures",
                "Changed certificate files that were refused; the old ones stay in use.",
                self.certificate_reload_failures,
            ),
        ):
            yield CounterMetricFamily(name, text, value)
        for source in self._gauges:
            yield from source()

    def _calls(self) -> Iterator[Metric]:
        calls = CounterMetricFamily(
            "holdfast_calls", "Calls that ended, by method and gRPC code.", None, ["method", "code"]
        )
        seconds = HistogramMetricFamily(
            "holdfast_call_seconds", "Time a call took inside the server.", labels=["method"]
        )
        open_calls = GaugeMetricFamily("holdfast_calls_open", "Calls under way.", labels=["method"])
        items = CounterMetricFamily(
            "holdfast_call_items",
            "Messages of streams and requests of bulk messages.",
            None,
            ["method"],
        )
        for name, stats in sorted(self.methods.items()):
            if not (stats.in_flight or any(stats.codes)):
                # Most methods of most servers: 24 lines each, rendered on the event loop while
                # everybody waits.
                continue
            for code, count in enumerate(stats.codes):
                if count:
                    calls.add_metric([name, CODE_NAMES[code]], count)
            seconds.add_metric([name], stats.seconds.buckets(), stats.seconds.total)
            open_calls.add_metric([name], stats.in_flight)
            if stats.items:
                items.add_metric([name], stats.items)
        yield from (calls, seconds, open_calls, items)

    def text(self) -> bytes:
        """The exposition Prometheus reads."""
        return generate_latest(self.registry)


def build_info() -> dict[str, str]:
    """Version of the server and of what it stands on."""
    return {
        "version": metadata.version("holdfast"),
        "python": platform.python_version(),
        "grpc": grpc.__version__,
        "numpy": metadata.version("numpy"),
        "numba": metadata.version("numba"),
    }


_REQUEST_BYTES_MAX = 8_192
_REQUEST_SECONDS_MAX = 5.0


class MetricsServer:
    """Answers ``GET /metrics`` and ``/livez`` over plain HTTP/1.1, one request a connection.

    Runs on the server's event loop: a collection then never meets a half-applied batch.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; the port in use. Raises OSError when it is taken."""
        self._server = await asyncio.start_server(self._serve, host, port, limit=_REQUEST_BYTES_MAX)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_REQUEST_SECONDS_MAX):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._answer(head.split(b"\r\n", 1)[0]))
                await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            pass  # whoever asked is gone, slow, or speaks something else
        finally:
            writer.close()

    def _answer(self, line: bytes) -> bytes:
        parts = line.split(b" ")
        path = parts[1].split(b"?")[0] if len(parts) == 3 else b""
        if parts[0] not in (b"GET", b"HEAD"):
            return _http(b"405 Method Not Allowed", b"text/plain", b"GET only\n")
        if path == b"/metrics":
            kind = b"text/plain; version=1.0.0; charset=utf-8"
            return _http(b"200 OK", kind, self._metrics.text())
        if path == b"/livez":
            return _http(b"200 OK", b"text/plain", b"alive\n")
        return _http(b"404 Not Found", b"text/plain", b"/metrics or /livez\n")


def _http(status: bytes, kind: bytes, body: bytes) -> bytes:
    head = b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
    return head % (status, kind, len(body)) + body
