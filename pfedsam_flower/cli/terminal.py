"""Output for terminals and files that cannot take every character: written in letters that they have."""

import codecs
import sys

PLAIN = {
    "→": "->",
    "←": "<-",
    "⇄": "<->",
    "–": "-",
    "—": "-",
    "−": "-",
    "…": "...",
    "±": "+-",
    "×": "x",
    "·": ".",
    "²": "2",
    "³": "3",
    "⁶": "^6",
    "≤": "<=",
    "≥": ">=",
    "µ": "u",
    "\N{NO-BREAK SPACE}": " ",
}
"""What our own texts hold beside ASCII; what others wrote (names of files, say) is shown by its number."""


def spell(error: UnicodeError) -> tuple[str, int]:
    """Codecs' error handler: the characters in ASCII, and where to go on."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    bad = error.object[error.start : error.end]
    return "".join(PLAIN.get(c) or c.encode("ascii", "backslashreplace").decode() for c in bad), error.end


def take_everything() -> None:
    """From here on no character that is printed ends the command, whatever the encoding of its output."""
    codecs.register_error("pfedsam", spell)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # one that somebody else put there may have no encoding
            stream.reconfigure(errors="pfedsam")
