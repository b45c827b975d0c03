"""`python -m batten` is the command `batten`."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

with suppress(OSError):
    # `-m` puts it there, where any file in it takes the place of one of Python's own modules.
    if sys.path[:1] == [os.getcwd()]:
        sys.path.append(sys.path.pop(0))

from batten.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
