"""A whole server in a thread of the test, on a free port, with a clock the test moves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from server.config import Config
from server.lifecycle import Server
from tests.simulation.manual_clock import ManualClock


class RunningServer:
    """Starts, stops and starts again on one journal; a context manager."""

    def __init__(self, data: Path, **settings: Any) -> None:
        self.data = data
        self.settings = settings
        self.clock = ManualClock()
        self.target = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._server: Server | None = None

    def start(self, port: int = 0) -> None:
        """Serve; returns when it does. Raises what the start raises."""
        ready = threading.Event()
        failures: list[BaseException] = []

        async def life() -> None:
            config = Config(
                listen=f"127.0.0.1:{port}",
                metrics_listen="",
                data=self.data,
                # On a busy machine it may come at any time: only tests that want it say so.
                **{"brownout": "off", **self.settings},
            )
            server = Server(config, make_clock=self._clock_from)
            self._loop = asyncio.get_running_loop()
            try:
                await server.start()
            except Exception as error:  # noqa: BLE001  (handed to the test)
                failures.append(error)
                ready.set()
                return
            self._server = server
            self.target = f"127.0.0.1:{server.port}"
            ready.set()
            await server.until_stop_asked()
            await server.stop()

        self._thread = threading.Thread(target=lambda: asyncio.run(life()), name="server")
        self._thread.start()
        ready.wait()
        if failures:
            self._thread.join()
            raise failures[0]

    def advance(self, seconds: float) -> None:
        """Move ledger time on, and let what falls due happen."""

        async def move() -> None:
            self.clock.advance(round(seconds * 1_000))

        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(move(), self._loop).result()

    def stop(self) -> None:
        """Drain and end."""
        if self._server is not None and self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._server.drain, 0)
            self._thread.join()
        self._server = None

    def restart(self) -> None:
        """Stop, and serve again on the same port and journal."""
        port = int(self.target.rpartition(":")[2])
        self.stop()
        self.start(port)

    def _clock_from(self, not_before_ms: int) -> ManualClock:
        missing_ms = not_before_ms - self.clock.now_ms()
        if missing_ms > 0:
            self.clock.advance(missing_ms)
        return self.clock

    def __enter__(self) -> RunningServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


Make = Callable[..., RunningServer]
