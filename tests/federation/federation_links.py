"""What tests of a coordinator between hospitals share: a SuperLink with TLS and SuperNode authentication."""

import os
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from pfedsam_flower.deployment import flower
from pfedsam_flower.deployment.certificates import make_certificates
from pfedsam_flower.deployment.processes import MARKER, Program, descendants, end_all, plain, start
from pfedsam_flower.deployment.proxies import without_proxies
from pfedsam_flower.deployment.rehearsal import free_port

LIMIT_S = 180.0
ROOT = Path(__file__).parents[2]


@dataclass
class Link:
    """A SuperLink in a folder of certificates, and the programs that try to reach it."""

    folder: Path
    port: int = field(default_factory=free_port)
    programs: list[Program] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def env(self, name: str) -> dict[str, str]:
        path = os.pathsep.join([str(flower.PROGRAMS), os.environ["PATH"], "/usr/sbin"])
        quiet = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1", "PYTHONUNBUFFERED": "1"}
        one = {"OMP_NUM_THREADS": "1"}
        own = {MARKER: str(self.folder), "FLWR_HOME": str(self.folder / f"flower-{name}"), "PATH": path}
        code = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        return without_proxies(os.environ) | quiet | one | own | {"PYTHONPATH": code}

    def start(self, name: str, program: str, *options: str) -> Program:
        log = self.folder / "logs" / f"{name}.log"
        command = [program, *options]
        self.programs.append(start(name, command, env=self.env(name), cwd=self.folder, log=log))
        return self.programs[-1]

    def superlink(self) -> Program:
        return self.start(
            "superlink",
            str(flower.PROGRAMS / "flower-superlink"),
            *("--host", "127.0.0.1", "--port", str(self.port), "--database", str(self.folder / "state.db")),
            *("--enable-supernode-auth", "--disable-runtime-dependency-installation"),
            *("--ssl-ca-certfile", str(self.folder / "ca.crt")),
            *("--ssl-certfile", str(self.folder / "superlink.crt")),
            *("--ssl-keyfile", str(self.folder / "superlink.key")),
        )

    def supernode(self, name: str, *options: str, at: str = "") -> Program:
        node = ["--superlink", at or self.address, "--port", str(free_port()), *options]
        return self.start(name, str(flower.PROGRAMS / "flower-supernode"), *node)

    def answer(self, path: str, *, at: str = "", method: str = "GET", body: bytes | None = None) -> int:
        """The HTTP status of an answer over TLS; 0 when nobody answers."""
        trust = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))
        handlers = [urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust)]
        request = urllib.request.Request(f"https://{at or self.address}{path}", body, method=method)
        request.add_header("Content-Type", "application/protobuf")
        try:
            with urllib.request.build_opener(*handlers).open(request, timeout=20) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def listens(self) -> bool:
        """Whether somebody takes connections, trusted or not."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 5):
            return True
        return False

    def wait(self, until: Callable[[], bool], what: str) -> None:
        limit = time.monotonic() + LIMIT_S
        while not until():
            told = "\n".join(f"=== {p.name}\n{said(p)[-1500:]}" for p in self.programs)
            assert time.monotonic() < limit, f"waited too long for {what}\n{told}"
            time.sleep(0.2)


@contextmanager
def running_link(folder: Path) -> Iterator[Link]:
    """A SuperLink that answers on loopback; all that was started is ended on the way out."""
    make_certificates(folder, ["fl.example.org"])
    link = Link(folder)
    try:
        link.superlink()
        link.wait(lambda: link.answer("/health") == 200, "the SuperLink")
        yield link
    finally:
        end_all(str(folder), link.programs)
    assert descendants(str(folder)) == set()


def said(program: Program) -> str:
    return plain(program.log.read_text(errors="replace"))
