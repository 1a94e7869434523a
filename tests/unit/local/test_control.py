"""What ``butlery local down`` refuses before it does anything."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from framework.errors import InputError
from framework.local import control
from framework.local.status import Status, read


@pytest.mark.parametrize("wipe", [False, True])
def test_another_users_cluster_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wipe: bool) -> None:
    Status("up", str(tmp_path)).save()
    said: list[str] = []
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(InputError, match="is of user"):
        control.down(tmp_path, said.append, wipe=wipe)
    assert said == []
    assert read(tmp_path).state == "crashed"
