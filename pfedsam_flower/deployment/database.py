"""What a SuperLink's database still holds of messages that were delivered, erased as far as SQLite can.

Flower 1.42 deletes a message from ``state.db`` once it was fetched. Its pages stay in the write-ahead log
(``state.db-wal``) until later ones overwrite them, and in the database itself where SQLite was built without
``SECURE_DELETE``, which only the connection that deletes can ask for. The log can be emptied by whoever may
write it, while the SuperLink runs; the database can be written anew when it does not::

    python -m pfedsam_flower.deployment.database coordinator/state.db
    python -m pfedsam_flower.deployment.database coordinator/state.db --anew
"""

import argparse
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

WAIT_S = 30.0


def overwrites() -> bool:
    """Whether SQLite, as Python has it here, overwrites by itself what is deleted."""
    with closing(sqlite3.connect(":memory:")) as one:
        return bool(one.execute("PRAGMA secure_delete").fetchone()[0])


def forget(path: Path, *, anew: bool = False) -> bool:
    """Empties the write-ahead log of a database; False where somebody was reading and it could not be.

    Args:
        anew: also write the database anew, without the pages that were deleted; nobody else may have it open.

    Raises:
        sqlite3.Error: it is no database, or is in use.
        FileNotFoundError: there is none.
    """
    if not path.is_file():
        raise FileNotFoundError(2, "there is no such database", str(path))
    with closing(sqlite3.connect(path, timeout=WAIT_S, isolation_level=None)) as one:
        if anew:
            one.execute("PRAGMA secure_delete = ON")
            one.execute("VACUUM")
        busy, *_ = one.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy


def main() -> int:
    """The exit status: 0 when nothing is left in the log."""
    parser = argparse.ArgumentParser(description="Empty the write-ahead log of a SuperLink's database.")
    parser.add_argument("database", type=Path)
    parser.add_argument("--anew", action="store_true", help="write the database anew, too; with no SuperLink")
    args = parser.parse_args()
    try:
        done = forget(args.database, anew=args.anew)
    except (OSError, sqlite3.Error) as error:
        print(f"{args.database}: {getattr(error, 'strerror', None) or error}", file=sys.stderr)
        return 1
    print(f"{args.database}: the write-ahead log is {'empty' if done else 'in use and was not emptied'}")
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main())
