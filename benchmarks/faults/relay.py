"""A TCP relay on loopback between a SuperNode and the SuperLink, whose link can be cut and slowed."""

import asyncio
import threading
from contextlib import suppress

CHUNK = 1 << 14
LOOK_EVERY_S = 0.05


class Relay:
    """Listens in a thread of its own until ``close``.

    Attributes:
        port: where it listens on 127.0.0.1.
        broken: connections are reset, new ones too.
        silent: connections stay, and nothing passes.
        bytes_per_s: at most so much passes in each direction of a connection; 0: no limit.
    """

    def __init__(self, port: int, upstream: int) -> None:
        self.port, self.upstream = port, upstream
        self.broken = self.silent = False
        self.bytes_per_s = 0.0
        self._open: set[asyncio.StreamWriter] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        if not self._ready.wait(10):
            raise OSError(f"the relay cannot listen on port {port}")

    def cut(self, *, silently: bool) -> None:
        """Nothing passes any more, until ``mend``."""
        self.silent, self.broken = silently, not silently

    def mend(self) -> None:
        """All passes again."""
        self.silent = self.broken = False

    def close(self) -> None:
        """Ends all connections and the thread."""
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(10)

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        async with await asyncio.start_server(self._connect, "127.0.0.1", self.port, limit=CHUNK):
            self._ready.set()
            while not self._end.is_set():
                if self.broken:
                    self._drop()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._end.wait(), LOOK_EVERY_S)
            self._drop()

    def _drop(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = {writer}
        self._open.add(writer)
        try:
            if self.broken:
                return
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.upstream, limit=CHUNK)
            writers.add(far_writer)
            self._open.add(far_writer)
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        except OSError:
            pass  # the SuperLink is down, or one end is gone
        finally:
            self._open -= writers
            for one in writers:
                one.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK):
            if self.bytes_per_s:
                await asyncio.sleep(len(data) / self.bytes_per_s)
            while self.silent:
                await asyncio.sleep(LOOK_EVERY_S)
            writer.write(data)
            await writer.drain()
        with suppress(OSError):
            writer.write_eof()
