"""`python -m vitscale` is the command `vitscale`."""

from vitscale.cli import main

main()
