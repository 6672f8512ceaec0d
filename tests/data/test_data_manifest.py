"""Manifests: CSV and JSON, every fault at once with its line, a split that the site gives."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pfedsam_flower.data.layouts import find_cases, layout_of, survey
from pfedsam_flower.data.splits import load_or_make_split, plan_split
from pfedsam_flower.errors import DataError
from pfedsam_flower.settings.site import SiteSettings

HEADER = "image,mask,patient"


@pytest.fixture
def manifest(tmp_path):
    """Writes a manifest beside six empty pictures and gives the site that names it."""
    for i in range(6):
        for sub in ("scans", "drawn"):
            path = tmp_path / sub / f"s{i}.png"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"")
    (tmp_path / "notes.txt").write_text("no picture")

    def write(body: str, name: str = "cases.csv", encoding: str = "utf-8") -> SiteSettings:
        (tmp_path / name).write_text(body, encoding=encoding)
        return SiteSettings(site="a", data=str(tmp_path / name), state=str(tmp_path / "state"))

    return write


def lines(*rows: str, header: str = HEADER) -> str:
    return "\n".join([header, *rows]) + "\n"


@pytest.mark.parametrize("sign", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_what_spreadsheets_write_is_read(manifest, tmp_path, sign, encoding):
    body = lines("scans/s1.png, drawn/s1.png ,Müller", "", "scans/s0.png,drawn/s0.png,p0").replace(",", sign)
    site = manifest(body.replace("\n", "\r\n"), encoding=encoding)
    assert layout_of(site) == "manifest"
    cases = find_cases(site)
    assert [(c.id, c.patient, c.part) for c in cases] == [("s0", "p0", ""), ("s1", "Müller", "")]
    assert cases[0].mask == tmp_path / "drawn/s0.png"


@pytest.mark.parametrize("first", ["sep=;\n", '"sep=;"\n'])
def test_excel_s_own_first_line_letter_case_and_back_slashes(manifest, tmp_path, first):
    body = first + lines(r"scans\s1.png;drawn\s1.png;p1", "a;b", header="Image;MASK;Patient")
    site = manifest(body)
    assert "line 4 has 2 cells under 3 columns" in survey(site)[1][0].text
    (case,) = find_cases(manifest(body.replace("a;b\n", "")))
    assert (case.id, case.patient, case.image) == ("s1", "p1", tmp_path / "scans" / "s1.png")


def test_another_encoding_is_refused_with_line_and_remedy(manifest):
    found = survey(manifest(lines("scans/s1.png,drawn/s1.png,Müller"), encoding="cp1252"))[1]
    assert "line 2 is not UTF-8: it holds the byte 0xfc, which is 'ü'" in found[0].text
    assert "save it as UTF-8" in found[0].text


def test_json_says_the_same(manifest, tmp_path):
    entries = [{"image": str(tmp_path / "scans/s3.png"), "mask": "drawn/s2.png", "patient": 7, "id": "first"}]
    (case,) = find_cases(manifest(json.dumps(entries), "cases.json"))
    assert (case.id, case.patient, case.image) == ("first", "7", tmp_path / "scans/s3.png")


def test_every_fault_comes_at_once_with_its_line(manifest):
    site = manifest(
        lines(
            "scans/s0.png,drawn/s0.png,p0,,train",
            "scans/s9.png,drawn/s1.png,p1,,train",
            "scans/s2.png,notes.txt,p2,../x,tests",
            ",drawn/s3.png,,,",
            "scans/s0.png,drawn/s4.png,p0,,test",
            "scans/s5.png,drawn/s5.png,p5,s0,",
            header=HEADER + ",id,split",
        )
    )
    cases, findings, _ = survey(site)
    (finding,) = findings
    assert finding.code == "PFS-208"
    for said in (
        "11 faults",
        "line 3: image scans/s9.png does not exist",
        "line 4: mask notes.txt is of no known format",
        "line 4: id '../x' cannot be the name of a file",
        "line 4: split 'tests' is not known; did you mean test?",
        "line 5: image is empty; line 5: patient is empty",
        "line 6: the id s0 is that of line 2",
        "line 6: its image is that of line 2",
        "line 6: patient p0 is in train (line 2) and in test",
        "line 7: the id s0 is that of line 2",
        "line 7: split is empty",
    ):
        assert said in finding.text
    assert finding.counts == {"faults": 11}
    assert [case.patient for case in cases] == ["p0", "p0", "p5"]


@pytest.mark.parametrize(
    ("body", "name", "word"),
    [
        (
            lines("a,b,c", header="image,mask,pateint"),
            "m.csv",
            "'pateint' is not known; did you mean patient?",
        ),
        (lines("a,b", header="image,mask"), "m.csv", "column 'patient' is missing"),
        (lines("a,b,c,d"), "m.csv", "line 2 has 4 cells under 3 columns"),
        (lines("a,b,c,d", header=HEADER + ",mask"), "m.csv", "twice"),
        (lines('"a,b,c'), "m.csv", "cannot be read"),
        ("{}", "m.json", "list of objects"),
        ('[{"image": ["a"]}]', "m.json", "entry 1: image is neither"),
        ("[", "m.json", "cannot be read"),
        ("", "m.txt", "end in .csv or .json"),
    ],
)
def test_a_form_that_is_wrong_is_refused(manifest, body, name, word):
    with pytest.raises(DataError) as caught:
        find_cases(manifest(body, name))
    assert caught.value.code == "PFS-208"
    assert word in caught.value.local()


@pytest.mark.parametrize(("body", "name"), [("", "m.csv"), (HEADER, "m.csv"), ("[]", "m.json")])
def test_a_manifest_without_cases(manifest, body, name):
    with pytest.raises(DataError, match="PFS-201"):
        find_cases(manifest(body, name))


def test_a_manifest_that_is_missing(tmp_path):
    site = SiteSettings(site="a", data=str(tmp_path / "cases.csv"), state=str(tmp_path))
    with pytest.raises(DataError, match=r"PFS-201 the manifest .* is missing"):
        find_cases(site)


@settings(max_examples=60, deadline=None)
@given(body=st.one_of(st.binary(max_size=80), st.text(max_size=80).map(str.encode)), json_too=st.booleans())
def test_any_bytes_are_cases_or_findings(tmp_path_factory, body, json_too):
    path = tmp_path_factory.getbasetemp() / ("any.json" if json_too else "any.csv")
    path.write_bytes(body)
    cases, findings, _ = survey(SiteSettings(site="a", data=str(path), state="s"))
    assert not cases
    assert findings


def divided(*parts: str) -> str:
    rows = [f"scans/s{i}.png,drawn/s{i}.png,p{i},{part}" for i, part in enumerate(parts)]
    return lines(*rows, header=HEADER + ",split")


def test_the_split_of_the_manifest_is_recorded_and_kept(manifest, tmp_path):
    site = manifest(divided("test", "train", "validation", "train"))
    record = tmp_path / "split.json"
    split = load_or_make_split(record, find_cases(site), site, seed=0)
    assert (split.train, split.validation, split.test) == (("p1", "p3"), ("p2",), ("p0",))
    assert plan_split(record, find_cases(site), site, seed=5) == split
    before = record.read_bytes()
    moved = find_cases(manifest(divided("train", "train", "validation", "test")))
    with pytest.raises(
        DataError, match="moves 2 patients.*p3 from train to test, p0 from test to train"
    ) as caught:
        load_or_make_split(record, moved, site, seed=0)
    assert (caught.value.code, record.read_bytes()) == ("PFS-206", before)


def test_a_split_that_leaves_a_part_empty_is_refused(manifest, tmp_path):
    site = manifest(divided("test", "train", "train"))
    with pytest.raises(DataError, match="PFS-203 the site's own split has no patient for validation"):
        plan_split(Path(tmp_path / "split.json"), find_cases(site), site, seed=0)


def test_a_file_of_another_letter_case_is_named(tmp_path):
    for name in ("p1.png", "m1.png"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "cases.csv").write_text("image,mask,patient\nP1.png,m1.png,a\n")
    found = survey(SiteSettings(site="a", data=str(tmp_path / "cases.csv"), state="s"))
    assert "image P1.png does not exist; there is 'p1.png' (what differs: letter case)" in (
        found.findings[0].text
    )
