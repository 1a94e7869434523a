"""``butlery scheduler run`` as it is, but that builds only pretend: each passes once a file is there."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import msgspec

from framework.cli import service
from framework.core.tasks import Request
from framework.ports import Submission
from framework.runtime.control import RuntimeControl
from framework.settings import load_settings


def run(config: Path, until: str) -> int:
    """Ends as the scheduler does; ``until`` is the file."""
    taken = RuntimeControl.submit

    async def submit(control: RuntimeControl, submission: Submission) -> Request:
        spec = replace(submission.spec, pretend_until=until)
        return await taken(control, msgspec.structs.replace(submission, spec=spec))

    with patch.object(RuntimeControl, "submit", submit):
        return service.run(load_settings(config, os.environ), config)


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1]), sys.argv[2]))
