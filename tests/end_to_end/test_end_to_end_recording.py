"""The search in a recording would find a leak: as it is, chunked, compressed, at any offset, in a bundle."""

import gzip
import io
import socket
import zipfile

import numpy as np
import pytest
from federation_wire import all_bytes, found_in, recording_proxy, windows

SECRET = np.geomspace(1e-3, 10, 100, dtype=np.float32).reshape(10, 10)
BODY = b"\x0a\x03abc" + SECRET.tobytes()
HEAD = b"POST /v1/fleet/push-object HTTP/1.1\r\n"


def plain(body: bytes, more: bytes = b"") -> bytes:
    return HEAD + more + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunked(body: bytes, more: bytes = b"") -> bytes:
    cut = len(body) // 3
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:cut], body[cut:]))
    return HEAD + more + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


def zipped(body: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("app.py", body)
    return file.getvalue()


@pytest.mark.parametrize(
    "message",
    [
        plain(BODY),
        chunked(BODY),
        plain(gzip.compress(BODY), b"content-encoding: gzip\r\n"),
        chunked(gzip.compress(BODY), b"Content-Encoding: gzip\r\n"),
        plain(b"\x12\x07" + zipped(BODY) + b"\x18\x01"),
    ],
    ids=["plain", "chunked", "gzip", "chunked gzip", "bundle"],
)
def test_a_planted_tensor_is_found_however_it_is_sent(message: bytes) -> None:
    sought = windows([SECRET])
    assert len(sought) == 25
    whole = all_bytes([plain(b"first") + message + plain(b"last")])
    assert found_in(sought, whole) == sought
    assert b"first" in whole
    assert b"last" in whole
    assert not found_in(windows([SECRET + np.float32(0.05)]), whole)


def test_a_part_of_a_tensor_is_found_at_any_offset() -> None:
    for offset in range(8):
        part = bytes(offset) + SECRET.ravel()[5:12].tobytes()  # seven neighbours
        assert len(found_in(windows([SECRET]), part)) == 1


def test_values_that_the_optimiser_gives_everywhere_are_no_fingerprint() -> None:
    first_step = np.float32(0.001) * np.array([1, -1, 0.9999, -0.9998], np.float32)
    assert not windows([first_step, np.zeros(8), np.ones(8)])
    assert len(windows([first_step * np.array([1, 2, 3, 4], np.float32)])) == 1


def test_what_cannot_be_decoded_is_not_passed_over() -> None:
    with pytest.raises(AssertionError, match="br"):
        all_bytes([plain(b"..", b"content-encoding: br\r\n")])
    with pytest.raises(AssertionError, match="not the start"):
        all_bytes([plain(b"..") + b"stray bytes\r\n\r\n"])


def test_the_proxy_keeps_both_directions() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with recording_proxy(f"127.0.0.1:{server.getsockname()[1]}") as (address, recording):
            host, port = address.split(":")
            with socket.create_connection((host, int(port))) as site:
                coordinator, _ = server.accept()
                with coordinator:
                    site.sendall(BODY)
                    assert coordinator.recv(len(BODY), socket.MSG_WAITALL) == BODY
                    coordinator.sendall(b"thanks")
                    assert site.recv(6, socket.MSG_WAITALL) == b"thanks"
        assert recording.up == [BODY]
        assert recording.down == [b"thanks"]
