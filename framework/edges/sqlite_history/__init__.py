"""The history of builds in one SQLite file, the default: some millions of builds, asked by any mix of filters."""

from framework.edges.sqlite_history.history import SqliteHistory

__all__ = ["SqliteHistory"]
