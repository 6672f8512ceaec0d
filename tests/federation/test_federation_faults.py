"""Faults: bad replies, bad sites, too few sites, wrong settings; each has its sentence."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from federation_runs import altered, events, personal_digests, start
from flwr.app import Array, ArrayRecord, Context, Message

from pfedsam_flower.aggregation.rules import RULES
from pfedsam_flower.contract.checks import euclidean_norm
from pfedsam_flower.contract.schema import digest
from pfedsam_flower.errors import ContractError, FederationError, SettingsError, StoreError
from pfedsam_flower.federation.client import build_client_app
from pfedsam_flower.federation.in_process import InProcessGrid
from pfedsam_flower.federation.server import coordinate
from pfedsam_flower.settings.site import SiteSettings
from pfedsam_flower.site.rounds import newest_round
from pfedsam_flower.site.trained import open_global


def spoil(how: str) -> Any:
    def change(reply: Message, context: Context) -> None:
        record = reply.content.array_records.get("arrays")
        if context.node_config["site"] != "valley" or record is None:
            return
        packed = record["shared"].numpy().copy()
        words = json.loads(reply.content.config_records["words"]["json"])  # type: ignore[arg-type]
        if how == "nan":
            packed[3] = np.nan
        elif how == "shape":
            packed = packed[:-1]
        elif how == "samples":
            words["n_train_samples"] = 0
        elif how == "round":
            words["round"] = 1 + words["round"]
        elif how == "huge":
            packed *= 1e6
        elif how == "name":
            words["site"] = "north"
        elif how == "weight":
            words["n_train_patients"] = 10**9
        elif how == "random":
            packed = np.random.default_rng(0).normal(size=packed.size)
            packed = (packed * (999.9 / euclidean_norm(packed))).astype(np.float32)
            words |= {"delta": digest(packed), "delta_norm": euclidean_norm(packed)}
        elif how == "count":
            words["n_train_patients"] = 10**400
        sent = Array(packed)
        if how == "archive":
            buffer = io.BytesIO()
            np.savez(buffer, shared=packed)
            sent.data = buffer.getvalue()
        elif how == "no archive":
            sent.data = b"PK\x03\x04 and so on"
        elif how == "a shape without end":
            sent.data = sent.data.replace(f"({len(packed)},), ".encode(), b"(10000000000000,), ", 1)
        reply.content["arrays"] = ArrayRecord({"shared": sent})
        reply.content.config_records["words"]["json"] = json.dumps(words).encode()

    return change


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ("nan", "PFS-403"),
        ("shape", "PFS-402"),
        ("samples", "PFS-405"),
        ("round", "PFS-406"),
        ("huge", "PFS-403"),
        ("name", "PFS-406"),
        ("weight", "PFS-408"),
        ("random", "PFS-409"),
        ("count", "PFS-404"),
        ("archive", "PFS-404"),
        ("no archive", "PFS-404"),
        ("a shape without end", "PFS-404"),
    ],
)
def test_a_bad_reply_excludes_that_site_by_name(
    flat: dict[str, Any], sites: list[SiteSettings], how: str, code: str
) -> None:
    flat = flat | {"rounds": 1, "evaluation.alone": False}
    final, _ = start(flat, sites, altered(spoil(how)))
    assert [(e["site"], e["code"]) for e in events(flat, "left-out")] == [("valley", code)]
    assert np.isfinite(final).all()
    assert events(flat, "round-end")[0]["sites"] == ["harbour", "north"]


def test_an_exceptions_text_stays_at_the_site(
    flat: dict[str, Any], sites: list[SiteSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    import pfedsam_flower.site.work as work

    real = work.load_site

    def load_site(site: SiteSettings, *args: Any, **kwargs: Any) -> Any:
        if site.site == "north":
            raise RuntimeError("/data/patient-4711 is broken")
        return real(site, *args, **kwargs)

    monkeypatch.setattr(work, "load_site", load_site)
    _, grid = start(flat | {"rounds": 1, "evaluation.alone": False}, sites)
    assert {(e["site"], e["code"]) for e in events(flat, "left-out")} == {("north", "PFS-506")}
    assert all(b"patient-4711" not in bytes_ for _, _, bytes_ in grid.sent)


def test_a_one_patient_hospital_gets_a_clear_answer_and_the_others_go_on(
    flat: dict[str, Any], sites: list[SiteSettings]
) -> None:
    alone = sites[0].model_copy(update={"patient": r"^(north)"})
    flat = flat | {"rounds": 1, "evaluation.alone": False}
    start(flat, [alone, *sites[1:]])
    (refused,) = events(flat, "refused")
    assert (refused["site"], refused["code"]) == ("north", "PFS-203")
    assert "too few patients" in refused["text"]
    assert events(flat, "end")[-1]["status"] == "completed"


def test_below_quorum_the_run_ends_with_names_and_can_go_on(
    flat: dict[str, Any], sites: list[SiteSettings]
) -> None:
    flat = flat | {
        "federation.start-deadline-s": 0.5,
        "federation.minimum-sites": 3,
        "evaluation.alone": False,
    }
    grid = InProcessGrid(build_client_app(), sites)
    grid.offline = {"valley"}
    with pytest.raises(FederationError, match="absent: valley") as caught:
        coordinate(grid, flat, 1)
    assert caught.value.code == "PFS-501"
    assert events(flat, "end")[-1]["status"] == "failed"
    start(flat, sites)
    assert events(flat, "end")[-1]["status"] == "completed"


def test_a_finished_run_is_not_run_again_and_other_settings_are_refused(
    flat: dict[str, Any], sites: list[SiteSettings]
) -> None:
    flat = flat | {"rounds": 1, "evaluation.alone": False}
    start(flat, sites)
    with pytest.raises(FederationError, match="complete after 1 rounds") as caught:
        start(flat, sites)
    assert caught.value.code == "PFS-505"
    with pytest.raises(FederationError, match="lora.rank was 8, is 4"):
        start(flat | {"lora.rank": 4}, sites)
    final, _ = start(flat | {"rounds": 2}, sites)
    assert events(flat, "start")[-1]["first_round"] == 2
    assert np.isfinite(final).all()
    with pytest.raises(FederationError, match="PFS-504.*has trained 2 rounds, rounds is 1"):
        start(flat, sites)


def test_a_rounds_file_with_one_other_byte_is_refused(
    flat: dict[str, Any], sites: list[SiteSettings]
) -> None:
    flat = flat | {"rounds": 1, "evaluation.alone": False}
    start(flat, sites)
    folder = Path(flat["coordinator.folder"]) / str(flat["federation.name"])
    path = folder / "round-0001" / "shared.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    shutil.copytree(folder / "round-0000", folder / "round-0009.damaged")
    for call in (lambda: start(flat | {"rounds": 2}, sites), lambda: open_global(folder)):
        with pytest.raises(StoreError, match=r"PFS-603.*digest"):
            call()
    path.unlink()
    found = newest_round(folder)
    assert found is not None
    assert found[0] == 0, "the folder of another name does not count"


def test_an_average_that_is_not_finite_is_not_saved(
    flat: dict[str, Any], sites: list[SiteSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    def rule(tensors: Any, broadcast: np.ndarray, *rest: Any) -> np.ndarray:
        return np.full_like(broadcast, np.inf)

    monkeypatch.setitem(RULES, "mean", rule)
    flat = flat | {"rounds": 1, "evaluation.alone": False}
    with pytest.raises(ContractError, match="PFS-403.*round 1"):
        start(flat, sites)
    folder = Path(flat["coordinator.folder"]) / str(flat["federation.name"])
    assert not (folder / "round-0001").exists()
    assert events(flat, "end")[-1]["status"] == "failed"


def test_personal_state_is_never_overwritten_by_a_new_start(
    flat: dict[str, Any], sites: list[SiteSettings], tmp_path: Path
) -> None:
    flat = flat | {"evaluation.alone": False}
    start(flat, sites)
    before = personal_digests(sites)
    again = flat | {"coordinator.folder": str(tmp_path / "elsewhere"), "training.global-steps": 2}
    with pytest.raises(FederationError):
        start(again, sites)
    assert {e["code"] for e in events(again, "left-out")} == {"PFS-602"}
    assert personal_digests(sites) == before
    other = flat | {"coordinator.folder": str(tmp_path / "third"), "seed": 9}
    with pytest.raises(FederationError):
        start(other, sites)
    assert {e["code"] for e in events(other, "left-out")} == {"PFS-601"}
    assert personal_digests(sites) == before


def test_wrong_settings_are_refused_all_at_once_before_anything_starts(
    flat: dict[str, Any], sites: list[SiteSettings]
) -> None:
    wrong = flat | {
        "lora.rnk": 8,
        "rounds": "four",
        "backbone.name": "vit_tinny",
        "image.size": 30,
        "aggregation.rule": "men",
    }
    grid = InProcessGrid(build_client_app(), sites)
    with pytest.raises(SettingsError) as caught:
        coordinate(grid, wrong, 1)
    text = caught.value.local()
    for part in (
        "did you mean lora.rank?",
        "rounds = 'four'",
        "did you mean vit_tiny?",
        "did you mean mean?",
    ):
        assert part in text
    assert not grid.sent
    assert not Path(flat["coordinator.folder"]).exists()


def test_fedavg_has_nothing_personal(flat: dict[str, Any], sites: list[SiteSettings]) -> None:
    flat = flat | {"method": "fedavg", "rounds": 1}
    start(flat, sites)
    for reply in events(flat, "reply"):
        assert not any("personal" in name for name in reply["metrics"])
        assert "loss.global" in reply["metrics"] or reply["kind"] == "close"


def test_a_node_with_faulty_settings_is_asked_a_few_times_and_its_text_stays(
    flat: dict[str, Any], sites: list[SiteSettings]
) -> None:
    flat = flat | {"rounds": 1, "evaluation.alone": False, "federation.start-deadline-s": 1.0}
    grid = InProcessGrid(build_client_app(), sites)
    grid.contexts[100].node_config["dvice"] = "/secret/path"
    coordinate(grid, flat, 1)
    assert sum(site == "north" and direction == "up" for site, direction, _ in grid.sent) == 3
    (refused,) = events(flat, "refused")
    assert (refused["site"], refused["code"]) == ("node 100", "PFS-506")
    assert all(b"secret" not in bytes_ and b"dvice" not in bytes_ for _, _, bytes_ in grid.sent)
    assert events(flat, "end")[-1]["status"] == "completed"
