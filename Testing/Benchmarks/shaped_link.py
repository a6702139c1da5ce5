"""A proxy that makes loopback as slow as a line to a cloud: so much delay, so much a connection. One asyncio loop."""

from __future__ import annotations

import argparse
import asyncio
import time
from contextlib import suppress

_PIECE = 1 << 18
_MOST_WAITING = 8


class Link:
    """Forwards connections to a port.

    Parameters
    ----------
    port
        Of the server, on 127.0.0.1.
    delay
        Seconds there and back.
    rate
        Bytes a second, of each connection and direction.
    """

    def __init__(self, port: int, delay: float, rate: float) -> None:
        self.port, self.delay, self.rate = port, delay, rate

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        await asyncio.sleep(self.delay)  # what connecting takes
        there, back = await asyncio.open_connection("127.0.0.1", self.port, limit=_PIECE * 4)
        await asyncio.gather(self._forward(reader, back), self._forward(there, writer))

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_MOST_WAITING)
        await asyncio.gather(self._take(reader, waiting), self._give(writer, waiting))

    async def _take(self, reader: asyncio.StreamReader, waiting: asyncio.Queue[tuple[float, bytes]]) -> None:
        free_at = 0.0
        data = b"-"
        while data:
            try:
                data = await reader.read(_PIECE)
            except OSError:
                data = b""
            free_at = max(free_at, time.monotonic()) + len(data) / self.rate
            await waiting.put((free_at + self.delay / 2, data))

    async def _give(self, writer: asyncio.StreamWriter, waiting: asyncio.Queue[tuple[float, bytes]]) -> None:
        alive = True
        while True:
            at, data = await waiting.get()
            if not data:
                break
            if alive and (left := at - time.monotonic()) > 0:
                await asyncio.sleep(left)
            try:
                if alive:
                    writer.write(data)
                    await writer.drain()
            except OSError:
                alive = False  # what still comes is read and dropped
        with suppress(OSError):
            writer.close()


async def serve(link: Link) -> None:
    """Print the port, then forward until somebody ends the process."""
    server = await asyncio.start_server(link.connected, "127.0.0.1", 0, limit=_PIECE * 4, backlog=64)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--delay", type=float, default=0.04)
    parser.add_argument("--rate", type=float, default=25e6)
    arguments = parser.parse_args()
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(Link(arguments.port, arguments.delay, arguments.rate)))
