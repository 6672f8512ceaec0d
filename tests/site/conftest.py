"""One small phantom hospital for the tests of a site's rounds."""

import pytest
from site_small import settings

from pfedsam_flower.data.phantoms import write_phantoms
from pfedsam_flower.data.samples import SiteData, load_site
from pfedsam_flower.settings.sources import sites_from_file


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> SiteData:
    folder = tmp_path_factory.mktemp("phantoms")
    write_phantoms(folder, n_sites=1, patients=4, slices=1, size=48)
    site = sites_from_file(folder / "sites.toml")[0]
    return load_site(site, settings(), folder / "split.json")
