"""What a site says of its data: counts and ranges that no single case sets, and a line in its journal."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pfedsam_flower.contract.messages import FEW, PreflightReply, PreflightRequest, encode
from pfedsam_flower.data.checks import Examination
from pfedsam_flower.data.facts import CaseFacts
from pfedsam_flower.data.findings import Finding
from pfedsam_flower.data.phantoms import write_phantoms
from pfedsam_flower.settings.run import RunSettings
from pfedsam_flower.settings.site import SiteSettings
from pfedsam_flower.settings.sources import sites_from_file, to_flat
from pfedsam_flower.site.preflight import answer_preflight, middle, summary

RANGES = ("slices", "height", "width", "spacing_between", "spacing_row", "spacing_column",
          "intensity_low", "intensity_middle", "intensity_high")  # fmt: skip
CANARY = "smith-john-4711"
sizes = st.integers(1, 2000)
millimetres = st.floats(0.1, 50)
values = st.floats(-2000, 4000)


@st.composite
def case_facts(draw: st.DrawFn) -> CaseFacts:
    return CaseFacts(
        id=CANARY,
        patient=f"{CANARY}-{draw(st.integers(0, 9))}",
        image=f"/srv/{CANARY}/i.nii.gz",
        mask=f"/srv/{CANARY}/m.nii.gz",
        shape=(draw(sizes), draw(sizes), draw(sizes)),
        spacing_mm=draw(st.none() | st.tuples(millimetres, millimetres, millimetres)),
        axes=draw(st.sampled_from(["", "LPS", "RAS", "PIR"])),
        channels=draw(st.sampled_from([1, 3])),
        intensity=(-2000.0, *sorted(draw(st.tuples(values, values, values))), 4000.0),
        at_top=0.0,
        voxels=(draw(st.integers(0, 900)), 0),
        digest=f"{CANARY}-{draw(st.integers(0, 20))}",
    )


findings = st.builds(
    Finding,
    code=st.sampled_from(["PFS-204", "PFS-213"]),
    text=st.just(f"{CANARY} is cut"),
    counts=st.dictionaries(st.just(CANARY), st.integers(1, 99)),
    where=st.just(f"/srv/{CANARY}"),
    hint=st.just(CANARY),
    severity=st.sampled_from(["error", "warning"]),
)


@st.composite
def examinations(draw: st.DrawFn) -> Examination:
    facts = tuple(draw(st.lists(case_facts(), max_size=9)))
    return Examination(
        n_cases=len(facts) + draw(st.integers(0, 9)),
        facts=facts,
        findings=tuple(draw(st.lists(findings, max_size=7))),
        classes=("organ", "lesion"),
        annotated=(True, False),
        patients={"train": 3},
    )


def numbers_in(body: Any) -> list[float]:
    if isinstance(body, dict):
        return [n for value in body.values() for n in numbers_in(value)]
    if isinstance(body, list):
        return [n for value in body for n in numbers_in(value)]
    return [body] if isinstance(body, int | float) and not isinstance(body, bool) else []


@given(examinations())
def test_no_name_no_path_and_no_small_count_is_in_the_reply(found: Examination) -> None:
    sent = encode(summary(found, "north"))
    for canary in (CANARY, "smith", "4711", "/srv", "cut", "organ"):
        assert canary.encode() not in sent
    words = json.loads(sent)
    for name in RANGES:
        words.pop(name)
    counts = numbers_in(
        [{k: v for k, v in words.items() if k != "classes"}, *(c["cases"] for c in words["classes"])]
    )
    assert not [n for n in counts if 0 < n < 5]


@given(examinations(), st.floats(1e6, 1e9), st.sampled_from([-1, 1]))
def test_one_odd_case_sets_no_end_of_a_range(found: Examination, odd: float, sign: int) -> None:
    """Whatever one more case is like, the ends stay within what the other cases have."""
    before = {
        "slices": [float(one.shape[0]) for one in found.facts],
        "height": [float(one.shape[1]) for one in found.facts],
        "spacing_row": [one.spacing_mm[1] for one in found.facts if one.spacing_mm],
        "intensity_low": [one.intensity[1] for one in found.facts],
        "intensity_high": [one.intensity[3] for one in found.facts],
    }
    for one in found.facts[:1]:
        strange = replace(
            one, shape=(int(odd),) * 3, spacing_mm=(odd,) * 3, intensity=(sign * odd,) * 5, axes="SAL"
        )
        reply = summary(replace(found, facts=(*found.facts, strange)), "north")
        assert reply.orientations["SAL"] == FEW
        for name, others in before.items():
            ends = getattr(reply, name)
            if len(others) < 4:
                assert ends is None
            elif ends is not None:
                assert ends.low >= min(others) - 0.051 * abs(min(others))
                assert ends.high <= max(others) + 0.051 * abs(max(others))


def test_ranges_need_five_cases_and_are_rounded() -> None:
    assert middle([1, 2, 3, 4], 3) is None
    ends = middle([9999.0, 0.12345, 1234.5, 77.77, -5.0], 3)
    assert ends is not None
    assert (ends.low, ends.high) == (0.123, 1230.0)


@pytest.fixture
def site(tmp_path: Path) -> SiteSettings:
    write_phantoms(tmp_path / "sites", n_sites=1, patients=6, slices=1, size=48)
    return sites_from_file(tmp_path / "sites" / "sites.toml")[0]


def asked(site: SiteSettings) -> PreflightReply:
    return answer_preflight(PreflightRequest(settings=to_flat(RunSettings()), deadline_s=60.0), site)


def test_a_site_says_what_its_data_is_like(site: SiteSettings) -> None:
    reply = asked(site)
    assert (reply.cases, reply.patients, reply.refused, reply.errors) == (6, 6, None, {})
    assert reply.channels == {"1": 6}
    assert reply.height is not None
    assert (reply.height.low, reply.height.high) == (48, 48)
    assert reply.spacing_row is None
    organ, _ = reply.classes
    masks = [np.asarray(Image.open(path)) for path in sorted(Path(site.data, "masks").iterdir())]
    assert organ.cases == 6
    assert organ.share == pytest.approx(np.mean([mask > 0 for mask in masks]), rel=0.05)


def test_a_repeated_question_gets_the_same_answer_and_nothing_is_written(site: SiteSettings) -> None:
    assert asked(site) == asked(site)
    assert not [path for path in Path(site.state).rglob("*") if path.is_file()]


def test_a_site_with_errors_refuses_itself_and_keeps_the_text(
    site: SiteSettings, caplog: pytest.LogCaptureFixture
) -> None:
    path = sorted(Path(site.data, "masks").iterdir())[-1]
    Image.fromarray(np.full((48, 48), 77, np.uint8)).save(path)
    with caplog.at_level(logging.WARNING):
        reply = asked(site)
    assert (reply.refused, reply.errors) == ("PFS-205", {"PFS-205": FEW})
    assert path.name in caplog.text
    assert path.name.encode() not in encode(reply)
