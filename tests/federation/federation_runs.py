"""What the federation's tests share: a run over the in-process grid, its events, altered clients."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from pfedsam_flower.federation.client import build_client_app
from pfedsam_flower.federation.in_process import InProcessGrid
from pfedsam_flower.federation.server import coordinate
from pfedsam_flower.settings.site import SiteSettings


def events(flat: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    path = Path(flat["coordinator.folder"]) / flat["federation.name"] / "history.jsonl"
    return [e for e in map(json.loads, path.read_text().splitlines()) if e["event"] == kind]


def personal_digests(sites: list[SiteSettings]) -> dict[str, list[str]]:
    found = {}
    for site in sites:
        state = json.loads((Path(site.state) / "test" / site.site / "pfedsam" / "state.json").read_text())
        found[site.site] = [row["personal_sha256"] for row in state["generations"]]
    return found


def start(
    flat: dict[str, Any], sites: list[SiteSettings], app: ClientApp | None = None
) -> tuple[np.ndarray, InProcessGrid]:
    grid = InProcessGrid(app or build_client_app(), sites)
    return coordinate(grid, flat, 1), grid


def altered(change: Any) -> ClientApp:
    """The real ClientApp, with replies to training messages changed by ``change(reply, context)``."""
    app, real = ClientApp(), build_client_app()

    @app.query()
    def hello(message: Message, context: Context) -> Message:
        return real(message, context)

    @app.query("preflight")
    def preflight(message: Message, context: Context) -> Message:
        return real(message, context)

    @app.train()
    def work(message: Message, context: Context) -> Message:
        reply = real(message, context)
        change(reply, context)
        return reply

    return app
