"""``python -m pfedsam_flower`` is ``pfedsam``."""

import sys

from .cli.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
