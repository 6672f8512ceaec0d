"""What a hospital owns: its name, data, device and disk. Never in a message, never set by the coordinator."""

from pydantic import Field

from .run import Section

PATHS = ("data", "state", "checkpoint", "authority", "key")
"""Settings that are paths; in a file they are relative to its folder."""


class SiteSettings(Section):
    """One site, as given to ``flower-supernode --node-config`` or in a ``sites.toml``."""

    site: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="The site's name in the federation.")
    data: str = Field(min_length=1,
        description="The site's data: a folder of images and masks, an nnU-Net data set (folder with dataset.json), "
        "a BIDS data set with derivatives, or a manifest (.csv, .json).")
    state: str = Field(min_length=1, description="Folder for personal state, split and journal; stays at the site.")
    images: str = Field("images", description="Sub-folder of the images.")
    masks: str = Field("masks", description="Sub-folder of the masks; same file names as the images.")
    labels: str = Field("",
        description="Mask values of each class, for example lesion=255 or organ=128+255,lesion=255, or the data set's own "
        "names for them, for example prostate=PZ+TZ (nnU-Net, BIDS). 1-65535 is a range, for example of instances. A class that is left out is not annotated; "
        "background=3+4 names values that are none of the classes. Empty: the "
        "data set's own names if they are the classes; where it has none, the first class has value 1, the second 2, "
        "and so on.")
    channel: str = Field("",
        description="Which image where a data set has several per mask: the channel of an nnU-Net data set by name or "
        "number, the contrast of a BIDS one (for example T2w).")
    patient: str = Field(r"^(.+)$",
        description="Regular expression on a file's name without suffix; its first group is the patient. "
        "By default every file is a patient of its own. A manifest names patients itself. In single quotes, a back-slash stays.")
    validation_share: float = Field(0.2, gt=0, lt=0.5, description="Share of the patients used for validation.")
    test_share: float = Field(0.2, gt=0, lt=0.5, description="Share of the patients used for testing.")
    device: str = Field("cpu", pattern=r"^(cpu|cuda(:\d+)?|mps)$", description="Where this site computes.")
    threads: int = Field(1, ge=1, le=256, description="CPU threads; the same number gives the same bits.")
    checkpoint: str = Field("", description="Path of the backbone's weights at this site; empty: those inside the package (vit_tiny has them).")
    superlink: str = Field("", pattern=r"^([^\s/]+:\d{1,5})?$",
        description="Address of the federation's SuperLink, host:port. Used by `pfedsam site start`, like the next two.")
    authority: str = Field("", description="Path of the federation's ca.crt, by which the SuperLink is known.")
    key: str = Field("", description="Path of the site's private key, by which its SuperNode is known.")
    hours: str = Field("", pattern=r"^(([01]?\d|2[0-3])-([01]?\d|2[0-4]))?$",
        description="Hours of the day, by the site's clock, in which rounds may begin, for example 18-6; empty: all.")
    rounds_a_day: int = Field(0, ge=0, description="Rounds that may be worked on in a day, all federations together; 0: no limit.")
    broadcasts_a_round: int = Field(4, ge=0,
        description="With how many different shared parameters or settings one and the same round is worked on; 0: no limit. "
        "One is usual; another one comes from a coordinator that was set back, or asks the same patients again and again.")
    mb_a_day: float = Field(0.0, ge=0, description="Megabytes (10⁶ bytes) that may leave the site in a day; 0: no limit.")
    steps_a_round: int = Field(0, ge=0, description="Optimiser steps that a round of a run may take, the closing one too; 0: no limit.")
    pixels_a_step: int = Field(0, ge=0, description="Pixels of the samples of one step, batch size times the square of the image size; 0: no limit.")
    gib_a_step: float = Field(0.0, ge=0, description="Memory that a step may need by the estimate of `pfedsam doctor`, GiB; 0: no limit.")
    mb_a_message: float = Field(200.0, gt=0, le=10_000,
        description="Megabytes (10⁶ bytes) of arrays that a message to the site may hold; a larger one is not read.")
    minimum_patients: int = Field(0, ge=0, description="With fewer patients to train on, the site takes no part.")
