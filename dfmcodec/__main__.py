"""`python -m dfmcodec`."""

from dfmcodec.cli import main

if __name__ == "__main__":  # and not where a worker of mpi4py imports it
    main()
