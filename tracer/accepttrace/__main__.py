"""`python -m accepttrace`."""

from accepttrace.cli import main

main()
