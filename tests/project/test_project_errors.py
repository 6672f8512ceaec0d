"""Errors: what may travel has nothing private in it, and every code has its entry in the manual."""

import re
from pathlib import Path

import pytest

from pfedsam_flower import errors
from pfedsam_flower.errors import CODES, PfedsamError

ROOT = Path(__file__).parents[2]
CODE = re.compile(r"PFS-\d{3}")
KINDS = {
    "1": errors.SettingsError,
    "2": errors.DataError,
    "3": errors.CheckpointError,
    "4": errors.ContractError,
    "5": errors.FederationError,
    "6": errors.StoreError,
    "7": errors.ConsentError,
}


@pytest.mark.parametrize("code", CODES)
def test_public_text_has_no_path_and_no_patient(code: str) -> None:
    error = PfedsamError(
        code,
        "smith-john.nii.gz is cut",
        where="/srv/hospital/images/smith-john.nii.gz",
        hint="copy it again from /mnt/pacs",
        counts={"bad_files": 3},
    )
    assert error.public() == f"{code} {CODES[code]} (bad files 3)"
    for private in ("smith", "/", "pacs"):
        assert private not in error.public()
    for said in (code, "smith-john.nii.gz is cut", "/srv/hospital", "/mnt/pacs"):
        assert said in error.local()
    assert str(error) == error.local()


def test_counts_are_copied() -> None:
    counts = {"files": 1}
    error = PfedsamError("PFS-204", "x", counts=counts)
    counts["files"] = 2
    assert error.public().endswith("(files 1)")


def test_an_error_without_details_is_one_line() -> None:
    error = PfedsamError("PFS-501", "only north answered")
    assert error.local() == "PFS-501 only north answered"
    assert error.public() == "PFS-501 too few sites"


def test_every_code_used_is_declared() -> None:
    for path in (ROOT / "pfedsam_flower").rglob("*.py"):
        used = set(CODE.findall(path.read_text(encoding="utf-8")))
        assert used <= set(CODES), f"{path.relative_to(ROOT)}: {sorted(used - set(CODES))}"


def test_the_manual_has_exactly_the_codes_with_their_titles() -> None:
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    entries = dict(re.findall(r"^### (PFS-\d{3}) (.+)\n(?=\S)", text, flags=re.MULTILINE))
    assert entries == CODES
    assert list(entries) == sorted(entries)


def test_codes_belong_to_the_class_that_raises_them() -> None:
    raised = re.compile(r"raise (\w+Error)\(\s*\"(PFS-(\d)\d\d)\"")
    for path in (ROOT / "pfedsam_flower").rglob("*.py"):
        for kind, code, group in raised.findall(path.read_text(encoding="utf-8")):
            assert kind == KINDS[group].__name__, f"{path.relative_to(ROOT)} raises {code} as {kind}"
