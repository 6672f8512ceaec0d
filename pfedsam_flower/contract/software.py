"""Which code this installation runs: version and a digest of the package's own source files."""

import hashlib
from functools import cache
from pathlib import Path

from .. import __version__


@cache
def software() -> str:
    """``version+digest``; equal on two machines only when every source file of the package is equal."""
    package = Path(__file__).resolve().parent.parent
    total = hashlib.sha256()
    for path in sorted(package.rglob("*.py"), key=lambda p: p.relative_to(package).as_posix()):
        total.update(path.relative_to(package).as_posix().encode())
        total.update(path.read_bytes().replace(b"\r\n", b"\n"))
    return f"{__version__}+{total.hexdigest()[:12]}"
