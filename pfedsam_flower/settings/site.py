"""What a hospital owns: its name, data, device and disk. Never in a message, never set by the coordinator."""

from pydantic import Field

from .run import Section


class SiteSettings(Section):
    """One site, as given to ``flower-supernode --node-config`` or in a ``sites.toml``."""

    site: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="The site's name in the federation.")
    data: str = Field(min_length=1, description="Folder of the site's images and masks.")
    state: str = Field(min_length=1, description="Folder for personal state, split and journal; stays at the site.")
    images: str = Field("images", description="Sub-folder of the images.")
    masks: str = Field("masks", description="Sub-folder of the masks; same file names as the images.")
    labels: str = Field("",
        description="Mask values of each class, for example lesion=255 or organ=128+255,lesion=255; "
        "empty: the first class has value 1, the second 2, and so on.")
    patient: str = Field(r"^(.+)$",
        description="Regular expression on a file's name without suffix; its first group is the patient. "
        "By default every file is a patient of its own.")
    validation_share: float = Field(0.2, gt=0, lt=0.5, description="Share of the patients used for validation.")
    test_share: float = Field(0.2, gt=0, lt=0.5, description="Share of the patients used for testing.")
    device: str = Field("cpu", pattern=r"^(cpu|cuda(:\d+)?|mps)$", description="Where this site computes.")
    threads: int = Field(1, ge=1, le=256, description="CPU threads; the same number gives the same bits.")
    checkpoint: str = Field("", description="Path of the backbone's weights at this site; empty: those inside the package (vit_tiny has them).")
