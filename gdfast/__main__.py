"""`python -m gdfast` is the command `gdfast`."""

import sys

from gdfast._cli.main import main

if __name__ == "__main__":
    sys.exit(main())
