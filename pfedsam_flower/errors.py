"""Every error a user can meet, in one tree.

PfedsamError
├── SettingsError     PFS-1xx   what was asked for: by the federation, a site's own settings, a prompt
├── DataError         PFS-2xx   a site's images, masks, split
├── CheckpointError   PFS-3xx   backbone weights
├── ContractError     PFS-4xx   what travels between site and coordinator
├── FederationError   PFS-5xx   rounds, quorum, deadlines
├── StoreError        PFS-6xx   personal state and run folders on disk
└── ConsentError      PFS-7xx   what a hospital has not allowed, or not now

Each error has two texts. ``public()`` may travel to the coordinator: the code, its fixed title and
counts, never a path, a file name or a patient. ``local()`` stays where it arose and says everything.
"""

CODES = {
    "PFS-101": "the settings are not valid",
    "PFS-102": "the site's own settings are not valid",
    "PFS-103": "what was asked of a prediction cannot be done",
    "PFS-104": "a certificate cannot be made for these hosts",
    "PFS-105": "scores cannot be compared",
    "PFS-201": "the data folder is missing or has no usable cases",
    "PFS-202": "images and masks do not match",
    "PFS-203": "too few patients to train, validate and test",
    "PFS-204": "a file cannot be read",
    "PFS-205": "a mask holds values that the label mapping does not name",
    "PFS-206": "the recorded split does not fit the data",
    "PFS-207": "a volume or series is not one that can be used",
    "PFS-208": "the description of a data set cannot be used",
    "PFS-209": "a public data set is not as it was published",
    "PFS-210": "the same image stands more than once in the data",
    "PFS-211": "a mask is empty or nearly so",
    "PFS-212": "a class is marked nowhere",
    "PFS-213": "a case is unlike the others of its site",
    "PFS-214": "the spacing of an image is not known",
    "PFS-215": "the intensities of an image look wrong",
    "PFS-216": "files of the data folder were passed over",
    "PFS-217": "cases that look like one patient's are split as several",
    "PFS-218": "a class covers nearly all of every image",
    "PFS-301": "the backbone checkpoint is missing or cannot be read",
    "PFS-302": "the backbone checkpoint does not fit the backbone",
    "PFS-303": "the backbone checkpoint is not the official file it is named after",
    "PFS-304": "the backbone weights inside the package are missing or altered",
    "PFS-401": "the contract differs between site and coordinator",
    "PFS-402": "arrays do not have the agreed names, shapes or types",
    "PFS-403": "values are not finite or far too large",
    "PFS-404": "a message cannot be read",
    "PFS-405": "a reply without training samples",
    "PFS-406": "a reply to another round or run",
    "PFS-408": "a site counts for more or less than it said before",
    "PFS-409": "a change that is far larger than the other sites'",
    "PFS-501": "too few sites",
    "PFS-502": "software versions differ",
    "PFS-504": "the run cannot be resumed with these settings",
    "PFS-505": "the run has already finished",
    "PFS-506": "a site failed while it worked on a message",
    "PFS-507": "a process of the federation could not be started or ended early",
    "PFS-508": "a site cannot be enrolled or revoked as asked",
    "PFS-509": "a node is not the site that it says it is",
    "PFS-510": "the site's device has too little memory",
    "PFS-511": "a site did not answer in time",
    "PFS-601": "personal state belongs to another federation, site, method, backbone or contract",
    "PFS-602": "personal state is ahead of the run",
    "PFS-603": "a stored file is damaged or missing",
    "PFS-604": "the folder is in use by another process or cannot be written",
    "PFS-605": "a key or certificate is there already or cannot be used",
    "PFS-606": "the site's personal state is older than its journal",
    "PFS-607": "the site's journal is not the one that it has written",
    "PFS-608": "others may read or change what is one account's alone",
    "PFS-701": "waiting for approval at the site",
    "PFS-702": "the site has paused",
    "PFS-703": "the site has left the federation",
    "PFS-704": "not within the hours in which the site works",
    "PFS-705": "what the site allows in a day is used up",
    "PFS-706": "fewer patients to train on than the site asks of itself",
    "PFS-707": "an approval cannot be given or found as asked",
    "PFS-708": "one round was asked for with more different shared parameters than the site allows",
    "PFS-709": "the run or its message asks for more of the site's machine than the site allows",
}


class PfedsamError(Exception):
    """What happened, where, what to do.

    Args:
        code: a key of ``CODES``; its title is the part that may travel.
        message: what happened, with the values; stays local.
        where: file, setting or tensor; stays local.
        hint: what to do; stays local.
        counts: numbers that may travel, by name.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        where: str = "",
        hint: str = "",
        counts: dict[str, int] | None = None,
    ) -> None:
        self.code, self.message, self.where, self.hint = code, message, where, hint
        self.counts = dict(counts or {})
        super().__init__(self.local())

    def public(self) -> str:
        """One line that may leave the site: code, fixed title, counts."""
        counts = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in self.counts.items())
        return f"{self.code} {CODES[self.code]}" + (f" ({counts})" if counts else "")

    def local(self) -> str:
        """The whole story, for the people who own the disk it speaks of."""
        text = f"{self.code} {self.message}"
        if self.where:
            text += f"\n  where: {self.where}"
        if self.hint:
            text += f"\n  hint: {self.hint}"
        return text


class SettingsError(PfedsamError):
    """A setting is unknown, of the wrong type, out of range, or does not go with another."""


class DataError(PfedsamError):
    """A site's data folder cannot be used as it is."""


class CheckpointError(PfedsamError):
    """A backbone file is missing, cut, or not what it says."""


class ContractError(PfedsamError):
    """A message does not hold what both sides agreed to exchange."""


class FederationError(PfedsamError):
    """Too few sites, versions that differ, a run that cannot go on."""


class StoreError(PfedsamError):
    """Something on disk is damaged, foreign, or locked."""


class ConsentError(PfedsamError):
    """The hospital has not allowed this, or does not allow it now."""
