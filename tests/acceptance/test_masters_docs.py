"""The commands of docs/masters.rst run as printed, but that their masters are stand-ins for Jenkins."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.manual import blocks, run, with_stand_in, write_butlery
from tests.acceptance.masters_cluster import tenants_cluster

TIMEOUT_S = 240


def test_examples_run_as_printed(tmp_path: Path) -> None:
    found = blocks("masters.rst")
    assert len(found) >= 7
    script = with_stand_in("".join(found), up="butlery local up --detach\n")
    with tenants_cluster() as tenants:
        # Which finds the cluster of the tests, and not this user's own; the schema is of no cluster.
        write_butlery(tmp_path, f"--dir {tenants.cluster.directory}", plain='"tenants schema"*')
        folder = tenants.cluster.directory / "docs"
        folder.mkdir()
        said = run(script, folder, tmp_path, TIMEOUT_S)
        for words in ("1 to create", "env.TZ: (none) -> Europe/Vienna", "payments.localhost", "1 done"):
            assert words in said, said[-6000:]
        assert tenants.states() == {"payments": "on"}
