"""Where a site keeps what: everything under its own state folder."""

from pathlib import Path

from ..settings.site import SiteSettings


def store_folder(site: SiteSettings, federation: str, method: str) -> Path:
    """Where a site's personal state for a federation and method lies."""
    return Path(site.state) / federation / site.site / method


def split_path(site: SiteSettings, federation: str) -> Path:
    """Where a site's split for a federation is recorded."""
    return Path(site.state) / federation / site.site / "split.json"


def cache_path(site: SiteSettings, federation: str) -> Path:
    """Where a site keeps its prepared images; may be deleted at any time."""
    return Path(site.state) / federation / site.site / "prepared"


def journal_path(site: SiteSettings, federation: str) -> Path:
    """Where a site writes down what left it."""
    return Path(site.state) / federation / site.site / "sent.jsonl"
