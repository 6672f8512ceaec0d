"""A site says before round 1 that it has no usable weights, in words that may travel."""

from pathlib import Path

import pytest

from pfedsam_flower.contract.messages import HelloReply, HelloRequest
from pfedsam_flower.contract.software import software
from pfedsam_flower.data.phantoms import write_phantoms
from pfedsam_flower.model.sam import files
from pfedsam_flower.settings.run import RunSettings
from pfedsam_flower.settings.site import SiteSettings
from pfedsam_flower.settings.sources import sites_from_file, to_flat
from pfedsam_flower.site.hello import answer_hello


@pytest.fixture
def site(tmp_path: Path) -> SiteSettings:
    write_phantoms(tmp_path / "sites", n_sites=1, patients=4, slices=1, size=48)
    return sites_from_file(tmp_path / "sites" / "sites.toml")[0]


def asked(site: SiteSettings, backbone: str = "vit_tiny") -> HelloReply:
    flat = to_flat(RunSettings()) | {"backbone.name": backbone}
    return answer_hello(HelloRequest(software=software(), settings=flat), site)


def test_a_site_with_the_packages_weights_takes_part(site: SiteSettings) -> None:
    assert asked(site).refusal is None


@pytest.mark.parametrize(
    ("backbone", "checkpoint", "code"),
    [
        ("vit_b", "", "PFS-301"),
        ("vit_b", "nowhere.pth", "PFS-301"),
        ("lite_medsam", "lite_medsam.pth", "PFS-303"),
        ("vit_z", "", "PFS-101"),
    ],
)
def test_a_site_without_the_right_file_is_refused(
    site: SiteSettings, tmp_path: Path, backbone: str, checkpoint: str, code: str
) -> None:
    (tmp_path / "lite_medsam.pth").write_bytes(b"something else")
    path = str(tmp_path / checkpoint) if checkpoint else ""
    refusal = asked(site.model_copy(update={"checkpoint": path}), backbone).refusal
    assert refusal is not None
    assert refusal.code == code
    assert str(tmp_path) not in refusal.text


def test_an_installation_with_altered_weights_is_refused(
    site: SiteSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "SHIPPED", tmp_path)
    (tmp_path / "vit_tiny.safetensors").write_bytes(b"other weights")
    refusal = asked(site).refusal
    assert refusal is not None
    assert refusal.code == "PFS-304"
    assert refusal.text == "PFS-304 the backbone weights inside the package are missing or altered"
