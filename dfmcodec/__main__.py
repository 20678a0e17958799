"""`python -m dfmcodec`."""

from dfmcodec.cli import main

main()
