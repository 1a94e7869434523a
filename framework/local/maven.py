"""Java archives from Maven Central, or from wherever Maven's own settings say, through Maven itself."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

from framework.errors import ButleryError, UnavailableError

FETCH_TIMEOUT_S = 600


def fetch(pom: Path, into: Path, what: str, jar: str, jar_sha256: str) -> None:
    """Puts all archives that ``pom`` depends on into the new directory ``into``.

    Raises UnavailableError where they cannot be fetched, ButleryError where ``jar`` is not the one with that SHA-256;
    ``into`` is of no use then. ``what`` names it all in sentences.
    """
    log = into.with_name("maven.log")
    command = ["mvn", "--batch-mode", "--quiet", "--file", str(pom), "dependency:copy-dependencies"]
    with log.open("w") as output:
        try:
            code = subprocess.run(
                [*command, f"-DoutputDirectory={into}"],
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=FETCH_TIMEOUT_S,
            ).returncode
        except subprocess.TimeoutExpired as error:
            raise UnavailableError(f"Maven did not end within {FETCH_TIMEOUT_S} s") from error
    if code != 0:
        errors = [line for line in log.read_text(errors="replace").splitlines() if "[ERROR]" in line]
        raise UnavailableError(f"Maven cannot fetch {what}: {errors[0] if errors else f'it ended with {code}'}")
    path = into / jar
    found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "none"
    if found != jar_sha256:
        raise ButleryError(f"{jar} has SHA-256 {found}, not {jar_sha256}; nothing of it is kept")
