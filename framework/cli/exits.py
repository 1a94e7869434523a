"""Exit codes of ``butlery``, the same for every command."""

from __future__ import annotations

OK = 0
FAILED = 1
"""The build waited for did not pass; or a command failed for a reason that has no code of its own."""
USAGE = 2
"""What was given cannot be taken, by this program or by the server: wrong options, a bad job, a wrong token."""
UNREACHABLE = 3
"""The server does not answer, or cannot serve now."""
INTERNAL = 70
"""A fault of this program (EX_SOFTWARE of sysexits.h)."""
STILL_RUNNING = 124
"""The wait's own time was over first, as of timeout(1)."""
INTERRUPTED = 130
"""Ctrl-C, as shells have it: 128 and the signal's number."""
