"""What went over a wire: a recording proxy, and a search for tensors and texts that must not be there."""

import io
import socket
import socketserver
import threading
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import numpy as np

WINDOW = 16  # bytes: four float32 values
ZIP = b"PK\x03\x04"
ALL_FORMATS = 47  # of zlib: gzip and zlib headers are both understood


def windows(tensors: Iterable[np.ndarray]) -> set[bytes]:
    """Every fourth 16-byte window of the tensors' float32 values, as they lie in little-endian memory.

    Any seven neighbouring values of a tensor hold one whole window. Left out are windows with a zero or with
    two sizes that differ by less than a hundredth: Adam's first step moves everything by nearly the learning
    rate, so such windows stand in shared and personal tensors alike.
    """
    found = set()
    for values in tensors:
        flat = np.ravel(values).astype("<f4")
        rows = flat[: flat.size // 4 * 4].reshape(-1, 4)
        sizes = np.sort(np.abs(rows), axis=1)
        telling = (np.diff(sizes, axis=1) > 0.01 * sizes[:, 1:]).all(axis=1) & (sizes[:, 0] > 0)
        found |= {row.tobytes() for row in rows[telling]}
    return found


def found_in(sought: set[bytes], whole: bytes) -> set[bytes]:
    """Those of the windows that stand anywhere in ``whole``, at any byte offset."""
    firsts = np.sort(np.array([int.from_bytes(window[:8], "little") for window in sought], np.uint64))
    hits: set[bytes] = set()
    for shift in range(8):
        words = np.frombuffer(whole, "<u8", max(0, len(whole) - shift) // 8, shift)
        near = firsts[np.minimum(np.searchsorted(firsts, words), firsts.size - 1)]
        for at in np.flatnonzero(near == words) * 8 + shift:
            hits |= {whole[at : at + WINDOW]} & sought
    return hits


@dataclass
class Recording:
    """Every byte of every connection, by direction; ``up`` is from the site to the coordinator."""

    up: list[bytearray] = field(default_factory=list)
    down: list[bytearray] = field(default_factory=list)


@contextmanager
def recording_proxy(upstream: str) -> Iterator[tuple[str, Recording]]:
    """Yields (host:port to connect to instead of ``upstream``, what has passed there so far)."""
    host, _, port = upstream.rpartition(":")
    recording = Recording()

    class Connection(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            up, down = bytearray(), bytearray()
            recording.up.append(up)
            recording.down.append(down)
            with socket.create_connection((host, int(port))) as link:
                back = threading.Thread(target=_pump, args=(link, self.request, down), daemon=True)
                back.start()
                _pump(self.request, link, up)
                back.join()

    class Proxy(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Proxy(("127.0.0.1", 0), Connection) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        try:
            yield f"127.0.0.1:{proxy.server_address[1]}", recording
        finally:
            proxy.shutdown()


def _pump(source: socket.socket, sink: socket.socket, kept: bytearray) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            kept += data
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def all_bytes(streams: Iterable[bytes | bytearray]) -> bytes:
    """The streams as they were, and after them what HTTP's codings and zip files hide in them."""
    raw = [bytes(stream) for stream in streams]
    return b"\0".join([*raw, *(hidden for stream in raw for hidden in _hidden(stream))])


def _hidden(stream: bytes) -> Iterator[bytes]:
    """Bodies that were sent chunked or compressed, and the members of zip files (Flower's app bundle)."""
    at = 0
    while at < len(stream):
        end = stream.find(b"\r\n\r\n", at)
        first, *lines = stream[at : end if end >= 0 else len(stream)].split(b"\r\n")
        assert b"HTTP/1" in first, f"not the start of an HTTP message: {first[:60]!r}"
        if end < 0:
            return  # the sender was killed
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        at = end + 4
        length = int(headers.get(b"content-length", b"0"))
        body, at = stream[at : at + length], at + length
        chunked = b"chunked" in headers.get(b"transfer-encoding", b"")
        if chunked:
            body, at = _dechunked(stream, end + 4)
        coding = headers.get(b"content-encoding", b"identity")
        assert coding in (b"identity", b"gzip", b"deflate"), f"a coding that is not searched: {coding!r}"
        if coding != b"identity":
            body = zlib.decompressobj(ALL_FORMATS).decompress(body)
        if chunked or coding != b"identity":
            yield body
        if ZIP in body:
            with zipfile.ZipFile(io.BytesIO(body[body.index(ZIP) :])) as bundle:
                yield from (bundle.read(name) for name in bundle.namelist())


def _dechunked(stream: bytes, at: int) -> tuple[bytes, int]:
    """(body, where the next message starts)."""
    parts = []
    while (end := stream.find(b"\r\n", at)) >= 0:
        size = int(stream[at:end].split(b";")[0], 16)
        at = end + 2 + size + 2
        if size == 0:
            break
        parts.append(stream[end + 2 : end + 2 + size])
    else:
        at = len(stream)
    return b"".join(parts), at
