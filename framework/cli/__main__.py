"""``python -m framework.cli``: the ``butlery`` program where it is not installed."""

from framework.cli import main

main()
