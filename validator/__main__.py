"""``python -m validator``: the command, without its script."""

from validator.cli import main

main()
