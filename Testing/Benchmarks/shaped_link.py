"""A proxy that makes loopback as slow as a line to a cloud: so much delay, so much a connection. One asyncio loop."""

from __future__ import annotations

import argparse
import asyncio
import time
from contextlib import suppress

_MOST_WAITING = 2 << 20
"""Bytes that are on the line; that is twice what fits at 200 Mbit/s and 40 ms."""


class Half(asyncio.Protocol):
    """One direction of a connection: what comes here goes out at the other half, later.

    Parameters
    ----------
    delay
        Seconds there and back.
    rate
        Bytes a second.
    """

    def __init__(self, delay: float, rate: float) -> None:
        self.delay, self.rate = delay, rate
        self.other: Half | None = None
        self.transport: asyncio.Transport | None = None
        self.free_at = 0.0
        self.waiting = 0
        self.early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Send it on when it would have come."""
        if self.other is None:
            self.early.append(data)
            return
        self.free_at = max(self.free_at, time.monotonic()) + len(data) / self.rate
        self.waiting += len(data)
        asyncio.get_running_loop().call_at(self.free_at + self.delay / 2, self._deliver, data)
        if self.waiting > _MOST_WAITING and self.transport is not None:
            self.transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Close the other half, when all is delivered."""
        when = max(self.free_at, time.monotonic()) + self.delay / 2
        asyncio.get_running_loop().call_at(when, self._close)

    def joined(self, other: Half) -> None:
        """Begin."""
        self.other = other
        early, self.early = self.early, []
        for data in early:
            self.data_received(data)

    def _deliver(self, data: bytes) -> None:
        self.waiting -= len(data)
        if self.other is not None and self.other.transport is not None and not self.other.transport.is_closing():
            self.other.transport.write(data)
        if self.waiting <= _MOST_WAITING and self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def _close(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


async def serve(port: int, delay: float, rate: float) -> None:
    """Print the proxy's port, then forward to another until somebody ends the process."""
    loop = asyncio.get_running_loop()
    waiting = set()

    async def connect(near: Half) -> None:
        await asyncio.sleep(delay)  # what connecting takes
        _, far = await loop.create_connection(lambda: Half(delay, rate), "127.0.0.1", port)
        near.joined(far)
        far.joined(near)

    def accepted() -> Half:
        near = Half(delay, rate)
        task = loop.create_task(connect(near))
        waiting.add(task)
        task.add_done_callback(waiting.discard)
        return near

    server = await loop.create_server(accepted, "127.0.0.1", 0, backlog=64)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--delay", type=float, default=0.04)
    parser.add_argument("--rate", type=float, default=25e6)
    arguments = parser.parse_args()
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(arguments.port, arguments.delay, arguments.rate))
