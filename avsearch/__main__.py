"""``python -m avsearch`` is the command line."""

from avsearch.cli import main

main()
