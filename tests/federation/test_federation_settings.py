"""What the coordinator says of a run's settings before round 1."""

import logging
from typing import Any

import pytest
from federation_runs import events, start

from pfedsam_flower.federation import server
from pfedsam_flower.settings.site import SiteSettings
from pfedsam_flower.settings.sources import default_flat, differing_text


@pytest.mark.parametrize("chosen", [True, False])
def test_settings_that_are_not_the_defaults_are_said_and_kept(
    chosen: bool,
    flat: dict[str, Any],
    sites: list[SiteSettings],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    wanted = {"rounds": 3, "image.size": 28, "training.augment": False} if chosen else {}
    folder = {"coordinator.folder": flat["coordinator.folder"]}
    monkeypatch.setattr(server, "run_rounds", lambda *args: None)
    monkeypatch.setattr(logging.getLogger("flwr"), "propagate", True)
    with caplog.at_level(logging.INFO):
        start(default_flat() | wanted | folder, sites)
    assert caplog.messages[0] == differing_text(wanted | folder)  # the coordinator's own are said, not kept
    assert events(default_flat() | folder, "start")[-1]["settings"] == wanted
