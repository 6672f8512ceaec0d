"""Randomness from (seed, round, site, purpose): never from the clock, never from the order of events."""

import hashlib


def derive(*parts: object) -> int:
    """A 63-bit seed from the words and numbers that name a draw; the same on every machine."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
