"""What a site's SuperNode runs: the ClientApp of the installed, reviewed package."""

from pfedsam_flower.federation.client import build_client_app

app = build_client_app()
