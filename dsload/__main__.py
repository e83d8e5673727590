"""`python -m dsload` is the command `dsload`."""

from dsload.cli.main import main

main()
