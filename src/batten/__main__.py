"""`python -m batten` is the same as `batten`."""

import sys

from batten.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
