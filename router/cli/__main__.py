"""`python -m router.cli`."""

from router.cli import program

program()
