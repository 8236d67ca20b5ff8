"""`python -m edgegate` is the command line."""

from edgegate.cli import main

main()
