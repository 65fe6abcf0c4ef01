"""`python -m kavach_core.cli` is the command `kavach`."""

from kavach_core.cli import main

main()
