"""The first answer to a coordinator: who this site is and whether it can take part. No torch in here."""

import logging
from typing import Any

from ..contract.messages import HelloReply, HelloRequest, Refusal
from ..contract.software import software
from ..data.samples import check_site
from ..errors import FederationError, PfedsamError
from ..model.sam.files import weights_file
from ..settings.run import RunSettings
from ..settings.site import SiteSettings
from ..settings.sources import class_problems, findings, refuse
from .paths import split_path


def run_settings(flat: dict[str, Any]) -> RunSettings:
    """The federation's settings as a request brought them.

    Raises:
        SettingsError: PFS-101.
    """
    run, problems = findings(RunSettings, flat)
    refuse(problems + (class_problems(run.classes) if isinstance(run, RunSettings) else []))
    assert isinstance(run, RunSettings)
    return run


def check_software(theirs: str) -> None:
    """Refuse a federation of different installations.

    Raises:
        FederationError: PFS-502.
    """
    if theirs != software():
        raise FederationError(
            "PFS-502",
            f"the coordinator runs {theirs}, this site {software()}",
            hint="install the same release of pfedsam-flower everywhere",
        )


def answer_hello(request: HelloRequest, site: SiteSettings) -> HelloReply:
    """Who this is and whether it can take part; trains nothing and writes no personal state."""
    try:
        check_software(request.software)
        run = run_settings(request.settings)
        weights_file(run.backbone.name, site.checkpoint)
        counts = check_site(site, run, split_path(site, run.federation.name))
    except PfedsamError as error:
        logging.getLogger(__name__).error("%s", error.local())
        return HelloReply(
            site=site.site,
            software=software(),
            n_train_patients=0,
            n_validation_patients=0,
            n_test_patients=0,
            refusal=Refusal(code=error.code, text=error.public()),
        )
    return HelloReply(
        site=site.site,
        software=software(),
        n_train_patients=counts.train,
        n_validation_patients=counts.validation,
        n_test_patients=counts.test,
    )
