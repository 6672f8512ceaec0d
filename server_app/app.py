"""What the coordinator's SuperLink runs: the ServerApp of the installed, reviewed package."""

from pfedsam_flower.federation.server import build_server_app

app = build_server_app()
