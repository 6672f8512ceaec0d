"""Before round 1: every site is asked what its data is like, and what does not fit is refused by name."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from federation_runs import events, start
from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from PIL import Image

from pfedsam_flower.contract.messages import HelloRequest
from pfedsam_flower.contract.schema import Contract
from pfedsam_flower.contract.software import software
from pfedsam_flower.errors import FederationError
from pfedsam_flower.federation.client import build_client_app
from pfedsam_flower.federation.history import RunFolder
from pfedsam_flower.federation.in_process import InProcessGrid
from pfedsam_flower.federation.plan import read_plan
from pfedsam_flower.federation.preflight import Preflight
from pfedsam_flower.federation.roster import Roster
from pfedsam_flower.federation.rounds import wait_for_sites
from pfedsam_flower.settings.site import SiteSettings
from pfedsam_flower.settings.sources import to_flat


class SlowGrid(InProcessGrid):
    """Sites in ``slow`` keep their preflight's answer to themselves."""

    slow: set[str] = set()

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        def held(message_id: str) -> bool:
            message = self.waiting.get(message_id)
            return (
                message is not None
                and message.metadata.message_type == "query.preflight"
                and self.names[message.metadata.dst_node_id] in self.slow
            )

        return super().pull_messages([one for one in message_ids if not held(one)])

    def asked(self, site: str) -> int:
        """Preflights that were sent to a site."""
        return sum(name == site and way == "down" and b'"preflight"' in sent for name, way, sent in self.sent)


def gather(
    flat: dict[str, Any], sites: list[SiteSettings], app: ClientApp | None = None, slow: Iterable[str] = ()
) -> tuple[SlowGrid, Roster]:
    """The coordinator's part before round 1, without a model."""
    run, own = read_plan(flat)
    folder = RunFolder(Path(own.folder) / run.federation.name)
    folder.path.mkdir(parents=True, exist_ok=True)
    grid = SlowGrid(app or build_client_app(), sites)
    grid.slow = set(slow)
    hello = HelloRequest(software=software(), settings=dict(to_flat(run)))
    return grid, Roster(grid, hello, folder, Preflight(grid, folder, run), run.federation.sites, {})


def wait(roster: Roster) -> list[str]:
    return wait_for_sites(roster, roster.preflight.run, lambda seconds: None)


def spoil(site: SiteSettings) -> Path:
    """A value without a name in the site's last mask; a look at the headers does not find it."""
    path = sorted(Path(site.data, "masks").iterdir())[-1]
    Image.fromarray(np.full((48, 48), 77, np.uint8)).save(path)
    return path


def test_a_run_of_no_rounds_is_the_preflight_alone(flat: dict[str, Any], sites: list[SiteSettings]) -> None:
    image, mask = (sorted(Path(sites[0].data, name).iterdir())[0] for name in ("images", "masks"))
    pixels = np.asarray(Image.open(image)).astype(np.uint16)
    for number in range(4):  # eight cases, so that ranges are said
        Image.fromarray(np.roll(pixels, number + 1, axis=1)).save(image.with_name(f"smith-p{number}-s1.png"))
        Image.open(mask).save(mask.with_name(f"smith-p{number}-s1.png"))
    pixels[0] = 43019  # so many that it is a percentile of this one image
    Image.fromarray(pixels).save(image)
    _, grid = start(flat | {"rounds": 0}, sites)
    said = {e["site"]: e["facts"] for e in events(flat, "preflight")}
    assert sorted(said) == ["harbour", "north", "valley"]
    assert said["valley"]["patients"] == said["valley"]["cases"] == "<5"
    assert said["north"]["cases"] == 8
    assert said["north"]["intensity_high"]["high"] < 300
    assert "intensity_high" not in said["valley"]
    assert not events(flat, "round-start")
    assert events(flat, "end")[-1]["status"] == "completed"
    assert not list(Path(sites[0].state).rglob("*.safetensors"))
    whole = b"".join(sent for _, way, sent in grid.sent if way == "up")
    history = (Path(flat["coordinator.folder"]) / "test" / "history.jsonl").read_bytes()
    for canary in (b"43019", b"43000", b"north-p", b"smith", str(sites[0].data).encode(), b".png"):
        assert canary not in whole + history
    start(flat | {"rounds": 0}, sites)  # may be repeated
    assert len(events(flat, "preflight")) == 6


def test_a_site_whose_data_has_errors_is_refused_by_name_and_the_others_go_on(
    flat: dict[str, Any], sites: list[SiteSettings]
) -> None:
    name = spoil(sites[0]).name
    grid, roster = gather(flat, sites)
    assert wait(roster) == ["harbour", "valley"]
    (refused,) = events(flat, "refused")
    assert (refused["site"], refused["code"]) == ("north", "PFS-205")
    assert refused["text"].endswith("(findings: PFS-205 <5)")
    assert all(name.encode() not in sent for _, _, sent in grid.sent)


def test_below_the_quorum_nothing_begins(flat: dict[str, Any], sites: list[SiteSettings]) -> None:
    spoil(sites[0])
    _, roster = gather(flat | {"federation.minimum-sites": 3}, sites)
    with pytest.raises(FederationError, match=r"refused: north \(PFS-205\)") as stopped:
        wait(roster)
    assert "correct what the refused sites' own logs name" in stopped.value.hint
    assert "missing" not in stopped.value.hint


def replaced(change: Any) -> ClientApp:
    """The real ClientApp; ``change(words, site)`` alters what a preflight answers, or raises."""
    app, real = ClientApp(), build_client_app()

    @app.query()
    def hello(message: Message, context: Context) -> Message:
        return real(message, context)

    @app.query("preflight")
    def preflight(message: Message, context: Context) -> Message:
        reply = real(message, context)
        words = json.loads(reply.content.config_records["words"]["json"])  # type: ignore[arg-type]
        change(words, context.node_config["site"])
        reply.content.config_records["words"]["json"] = json.dumps(words).encode()
        return reply

    return app


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"site": "north"}, "PFS-406"),
        ({"classes": [{"annotated": True, "cases": 5}]}, "PFS-404"),
        ({"patients": 3}, "PFS-404"),
        ({"names": ["smith"]}, "PFS-404"),
    ],
)
def test_a_bad_answer_is_refused_and_not_repeated(
    flat: dict[str, Any], sites: list[SiteSettings], change: dict[str, Any], code: str
) -> None:
    def alter(words: dict[str, Any], site: str) -> None:
        words.update(change if site == "valley" else {})

    _, roster = gather(flat, sites, replaced(alter))
    assert wait(roster) == ["harbour", "north"]
    (refused,) = events(flat, "refused")
    assert (refused["site"], refused["code"]) == ("valley", code)
    assert "smith" not in json.dumps(refused)


def test_a_site_whose_app_fails_is_asked_three_times(flat: dict[str, Any], sites: list[SiteSettings]) -> None:
    def fail(words: dict[str, Any], site: str) -> None:
        if site == "valley":
            raise RuntimeError("out of memory")

    grid, roster = gather(flat, sites, replaced(fail))
    assert wait(roster) == ["harbour", "north"]
    assert grid.asked("valley") == 3
    assert [(e["site"], e["code"]) for e in events(flat, "refused")] == [("valley", "PFS-506")]


def test_a_site_that_does_not_answer_in_time_is_named(
    flat: dict[str, Any], sites: list[SiteSettings]
) -> None:
    limits = {"federation.round-deadline-s": 0.5, "federation.start-deadline-s": 0.1}
    _, roster = gather(flat | limits, sites, slow=["valley"])
    assert wait(roster) == ["harbour", "north"]
    (refused,) = events(flat, "refused")
    assert "no answer to the preflight within 0.5 s" in refused["text"]


def test_a_site_that_is_gone_is_not_waited_for_and_is_asked_again_when_it_is_back(
    flat: dict[str, Any], sites: list[SiteSettings]
) -> None:
    grid, roster = gather(flat | {"federation.start-deadline-s": 0.1}, sites, slow=["valley"])
    roster.look()
    roster.look()
    assert roster.preflight.busy(roster.online)
    grid.offline = {"valley"}
    assert wait(roster) == ["harbour", "north"]
    grid.offline, grid.slow = set(), set()
    assert wait(roster) == ["harbour", "north", "valley"]
    assert grid.asked("valley") == 2
    assert len(events(flat, "preflight")) == 3


def test_a_late_comer_is_looked_through_when_it_comes_and_a_known_one_is_not_asked_again(
    flat: dict[str, Any], sites: list[SiteSettings]
) -> None:
    grid, roster = gather(flat | {"federation.start-deadline-s": 0.1}, sites)
    grid.offline = {"valley"}
    assert wait(roster) == ["harbour", "north"]
    grid.offline = set()
    assert wait(roster) == ["harbour", "north", "valley"]
    node = next(node for node, name in grid.names.items() if name == "valley")
    grid.names[900], grid.contexts[900] = grid.names.pop(node), grid.contexts.pop(node)
    assert wait(roster) == ["harbour", "north", "valley"]
    assert roster.nodes["valley"] == 900
    assert grid.asked("valley") == 1


def test_a_resumed_run_knows_who_was_looked_through(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.examined() == set()
    folder.log("preflight", site="north", facts={"cases": 9})
    folder.log("preflight", site="valley", facts={"cases": 9, "refused": "PFS-205"})
    folder.log("preflight", site="harbour", facts={"cases": 9, "refused": "PFS-205"})
    folder.log("preflight", site="harbour", facts={"cases": 9})
    with (tmp_path / "history.jsonl").open("a") as file:
        file.write('{"event": "preflight", "si')
    assert folder.examined() == {"north", "harbour"}


def test_a_run_that_has_trained_is_not_made_a_preflight(flat: dict[str, Any], tmp_path: Path) -> None:
    contract = Contract((("w", (2,)),), "digest", ("organ",), 28, "pfedsam")
    run, _ = read_plan(flat)
    folder = RunFolder(tmp_path / "run")
    assert folder.open(run, contract) is None
    folder.save_round(0, np.zeros(2, np.float32))
    nothing = run.model_copy(update={"rounds": 0})
    folder.open(nothing, contract)
    folder.save_round(1, np.zeros(2, np.float32))
    with pytest.raises(FederationError, match="has trained 1 rounds"):
        folder.open(nothing, contract)
