"""`python -m flashneuron`, for launchers that start modules."""

from flashneuron.cli.main import main

main()
