"""A relay between a SuperNode and the SuperLink: the link can be cut and slowed, messages repeated."""

import asyncio
import random
import re
import threading
from collections.abc import AsyncIterator
from contextlib import suppress

CHUNK = 1 << 14
LARGEST_HEAD = 1 << 16
LOOK_EVERY_S = 0.05
ANSWER_S = 10.0
PUSH = re.compile(rb"POST /v1/fleet/push-(?:messages|object) ")
"""Requests with which a SuperNode hands over a reply: the message, and the objects that it holds."""
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


class Relay:
    """Listens in a thread of its own until ``close``.

    Attributes:
        port: where it listens on 127.0.0.1.
        broken: connections are reset, new ones too.
        silent: connections stay, and nothing passes.
        bytes_per_s: at most so much passes in each direction of a connection; 0: no limit.
        doubled: the SuperLink gets each push twice, on two connections.
        unanswered: a push reaches the SuperLink, but its connection is reset then: the node has to repeat it.
        pushes: all pushes that have passed.
    """

    def __init__(self, port: int, upstream: int) -> None:
        self.port, self.upstream = port, upstream
        self.broken = self.silent = False
        self.bytes_per_s = 0.0
        self.doubled = self.unanswered = False
        self.pushes: list[bytes] = []
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

    def push_again(self, seed: int) -> None:
        """Sends all pushes so far once more, in another order."""
        stale = list(self.pushes)
        random.Random(seed).shuffle(stale)

        async def send() -> None:
            for request in stale:
                await self._send_aside(request)

        asyncio.run_coroutine_threadsafe(send(), self._loop)

    def close(self) -> None:
        """Ends all connections and the thread."""
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(10)

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        async with await asyncio.start_server(self._connect, "127.0.0.1", self.port, limit=LARGEST_HEAD):
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
            await asyncio.gather(
                self._pump(self._requests(reader), far_writer), self._pump(_chunks(far_reader), writer)
            )
        except (OSError, asyncio.IncompleteReadError):
            pass  # the SuperLink is down, or one end is gone
        finally:
            self._open -= writers
            for one in writers:
                one.transport.abort()

    async def _requests(self, reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
        """Whole requests of a SuperNode; what is to happen to a push happens here."""
        while head := await _head(reader):
            length = LENGTH.search(head)
            request = head + (await reader.readexactly(int(length[1])) if length else b"")
            if PUSH.match(head):
                self.pushes.append(request)
                if self.doubled:
                    await self._send_aside(request)
                if self.unanswered:
                    await self._send_aside(request)
                    raise ConnectionResetError
            yield request

    async def _send_aside(self, request: bytes) -> None:
        """Sends a request on a connection of its own and waits for an answer that nobody gets."""
        with suppress(OSError, TimeoutError):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.upstream, limit=CHUNK)
            self._open.add(writer)
            try:
                writer.write(request)
                await asyncio.wait_for(reader.read(1), ANSWER_S)
            finally:
                self._open.discard(writer)
                writer.transport.abort()

    async def _pump(self, source: AsyncIterator[bytes], writer: asyncio.StreamWriter) -> None:
        async for data in source:
            if self.bytes_per_s:
                await asyncio.sleep(len(data) / self.bytes_per_s)
            while self.silent:
                await asyncio.sleep(LOOK_EVERY_S)
            writer.write(data)
            await writer.drain()
        with suppress(OSError):
            writer.write_eof()


async def _head(reader: asyncio.StreamReader) -> bytes:
    """Request line and headers, b"" at the end of the connection."""
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return b""


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while data := await reader.read(CHUNK):
        yield data
