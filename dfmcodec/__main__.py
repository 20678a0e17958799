"""`python -m dfmcodec`."""

import os
import sys
from pathlib import Path

if __name__ == "__main__":  # and not where a worker of mpi4py imports it
    # Python put the current folder first: no place for modules unless the package is there.
    here = os.getcwd()
    if sys.path[0] == here and Path(__file__).parents[1] != Path(here).resolve():
        del sys.path[0]
    from dfmcodec.cli import main

    main()
