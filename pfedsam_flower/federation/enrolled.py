"""The coordinator's file of enrolled sites: which node is which site. ``pfedsam enrol`` writes it."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..errors import StoreError
from ..settings.text import read_text


class Enrolled(BaseModel):
    """One site's key that was admitted, and whether it still is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    site: str
    node_id: int = Field(gt=0, lt=2**64)
    key: str = Field(pattern=r"^ecdsa-sha2-nistp\d{3} [A-Za-z0-9+/]+=*$")
    enrolled: datetime
    revoked: datetime | None = None


class Register(BaseModel):
    """All keys that were ever admitted, oldest first."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = Field(1, ge=1, le=1)
    sites: tuple[Enrolled, ...] = ()

    @model_validator(mode="after")
    def _one_of_each(self) -> "Register":
        for values in (
            [one.site for one in self.sites if not one.revoked],
            [one.node_id for one in self.sites],
            [one.key for one in self.sites],
        ):
            if len(set(values)) < len(values):
                raise ValueError("a site, node or key stands in it twice")
        return self

    def of(self, site: str) -> Enrolled | None:
        """The key that ``site`` is admitted with."""
        return next((one for one in self.sites if one.site == site and not one.revoked), None)

    def names(self) -> Mapping[int, str]:
        """Site by node id, of those that are admitted now."""
        return {one.node_id: one.site for one in self.sites if not one.revoked}


def read_enrolled(path: Path) -> Register | None:
    """The register in a file; None when there is no such file.

    Raises:
        StoreError: PFS-603 when it is damaged.
    """
    try:
        return Register.model_validate_json(read_text(path))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StoreError(
            "PFS-603",
            f"the register of enrolled sites cannot be used: {error}",
            where=str(path),
            hint="bring it back from a backup; without it, node ids have no names",
        ) from error


def registered_names(path: Path) -> Mapping[int, str]:
    """Site by node id, read anew at each call: sites may be enrolled and revoked while a run goes on.

    Raises:
        StoreError: PFS-603 when there is no such file or it is damaged.
    """
    register = read_enrolled(path)
    if register is None:
        raise StoreError(
            "PFS-603",
            "there is no register of enrolled sites",
            where=str(path),
            hint="coordinator.enrolment names the file that 'pfedsam enrol' wrote beside the certificates "
            "(enrolled.json), seen from where the SuperLink was started",
        )
    return register.names()
