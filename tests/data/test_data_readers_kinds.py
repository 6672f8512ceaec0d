"""What is no plain file is refused, not waited for."""

import os
import socket
from pathlib import Path

import pytest

from pfedsam_flower.data.readers import READERS, read_grid, read_image, read_mask
from pfedsam_flower.errors import DataError


@pytest.mark.parametrize("suffix", sorted(READERS))
@pytest.mark.parametrize("read", [read_image, read_mask, read_grid])
def test_a_pipe_is_refused_at_once(tmp_path: Path, suffix: str, read: object) -> None:
    path = tmp_path / f"p01{suffix}"
    os.mkfifo(path)
    with pytest.raises(DataError) as caught:
        read(path)  # type: ignore[operator]
    assert caught.value.code == "PFS-204"


def test_a_socket_and_a_link_to_a_device_are_refused(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "a.png"))
        (tmp_path / "b.png").symlink_to("/dev/zero")
        for name in ("a.png", "b.png"):
            with pytest.raises(DataError, match="no plain file"):
                read_image(tmp_path / name)
