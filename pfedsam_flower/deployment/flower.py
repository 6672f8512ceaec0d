"""Flower's own commands, called as programs: runs and their states, SuperNodes and their keys."""

import json
import subprocess
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import FederationError
from .processes import plain

PROGRAMS = Path(sysconfig.get_path("scripts"))
CONNECTION = "rehearsal"
CALL_LIMIT_S = 120.0


def toml(flat: Mapping[str, Any]) -> str:
    """A flat table as TOML: one ``"key" = value`` per line; values are str, int, float or bool."""
    return "".join(f"{_value(key)} = {_value(value)}\n" for key, value in flat.items())


def _value(value: Any) -> str:
    # JSON's scalars are TOML's, but for DEL, which TOML wants escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def write_connection(flower_home: Path, address: str, authority: Path | None = None) -> None:
    """Writes the ``config.toml`` by which the flwr command finds the SuperLink.

    Args:
        authority: the certificate that the SuperLink's is checked against; None: no TLS, for loopback only.
    """
    flower_home.mkdir(parents=True, exist_ok=True)
    text = f'[superlink]\ndefault = "{CONNECTION}"\n\n[superlink.{CONNECTION}]\n'
    secured = {"insecure": True} if authority is None else {"root-certificates": str(authority.absolute())}
    (flower_home / "config.toml").write_text(text + toml({"address": address, **secured}), encoding="utf-8")


def run(app: Path, config: Path, *, nodes: int | None, env: dict[str, str], cwd: Path) -> int:
    """Submits the app with the run config in a TOML file and returns the run's id.

    Args:
        nodes: virtual nodes of a simulation, one CPU each; None for real sites.

    Raises:
        FederationError: PFS-507 when Flower refuses.
    """
    simulated = (
        ["--federation-config", f"num-supernodes={nodes} client-resources-num-cpus=1"] if nodes else []
    )
    command = ["run", str(app), CONNECTION, "--run-config", str(config), *simulated]
    return int(_json(command, env, cwd)["run-id"])


def status(run_id: int, *, env: dict[str, str], cwd: Path) -> tuple[str, str]:
    """(status, details) of a run; a finished one is ``finished:completed``, ``:failed`` or ``:stopped``."""
    runs = _json(["list", CONNECTION, "--run-id", str(run_id)], env, cwd).get("runs") or [{}]
    return str(runs[0].get("status", "unknown")), str(runs[0].get("status-details") or "")


def register_node(public_key: Path, name: str, *, env: dict[str, str], cwd: Path) -> int:
    """Admits the SuperNode that has this key and returns its node id; the name is only a remark for Flower.

    Raises:
        FederationError: PFS-507 when Flower refuses: the key was registered before, say, even if it was
            unregistered since.
    """
    command = ["supernode", "register", str(public_key), CONNECTION, "--name", name]
    return int(_json(command, env, cwd)["node-id"])


def unregister_node(node_id: int, *, env: dict[str, str], cwd: Path) -> None:
    """Shuts a SuperNode out for good.

    Raises:
        FederationError: PFS-507 when Flower does not know it.
    """
    _json(["supernode", "unregister", str(node_id), CONNECTION], env, cwd)


def nodes(*, env: dict[str, str], cwd: Path) -> dict[int, str]:
    """All SuperNodes by node id: ``registered`` (never seen), ``online``, ``offline`` or ``unregistered``.

    Raises:
        FederationError: PFS-507 when there is no answer.
    """
    answer = _json(["supernode", "list", CONNECTION], env, cwd)
    return {int(node["node-id"]): str(node["status"]) for node in answer.get("nodes", [])}


def last_words(run_id: int, *, env: dict[str, str], cwd: Path, count: int = 12) -> str:
    """The last lines of the ServerApp's log, indented."""
    result = _call(["log", str(run_id), CONNECTION, "--show"], env, cwd)
    lines = _said(result.stdout)
    return "\n".join(f"    {line}" for line in lines[-count:]) or "    (it said nothing)"


def _said(output: str) -> list[str]:
    """The lines that tell something: no colours, no blank lines, not which SuperLink was used."""
    lines = [line.rstrip() for line in plain(output).splitlines()]
    return [line for line in lines if line and not line.startswith("Using SuperLink:")]


def _call(arguments: list[str], env: dict[str, str], cwd: Path) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(
            [str(PROGRAMS / "flwr"), *arguments],
            env=env | {"PYTHONIOENCODING": "utf-8"},  # whatever this terminal can show
            cwd=cwd,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=CALL_LIMIT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FederationError("PFS-507", f"flwr {arguments[0]} could not be run: {error}.") from error


def _json(arguments: list[str], env: dict[str, str], cwd: Path) -> dict[str, Any]:
    result = _call([*arguments, "--format", "json"], env, cwd)
    try:
        answer = json.loads(plain(result.stdout))
    except json.JSONDecodeError:
        answer = {}
    if result.returncode or not isinstance(answer, dict) or not answer.get("success"):
        said = answer.get("error-message") if isinstance(answer, dict) else ""
        said = "\n".join(_said(str(said or result.stderr + result.stdout)))
        said = said or f"exit status {result.returncode}"
        raise FederationError("PFS-507", f"Flower refused 'flwr {arguments[0]}': {said}")
    return answer
