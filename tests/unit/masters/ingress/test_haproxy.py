"""HAProxy as a program that is run, with another in its place."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from framework.errors import UnavailableError
from masters.ingress.haproxy import HaProxy
from masters.ingress.places import Places

WAITING = """#!/bin/sh
[ "$1" != -v ] || echo 'HAProxy version 2.6.12'
[ "$1" = -c ] || exit 0
for _ in $(seq 200); do
  [ ! -e go ] || exit 0
  sleep 0.05
done
exit 1
"""


async def test_requests_go_on_being_held_while_haproxy_checks_its_settings(tmp_path: Path) -> None:
    places = Places(tmp_path / "ingress")
    places.prepare()
    program = tmp_path / "haproxy"
    program.write_text(WAITING)
    program.chmod(0o755)

    async def go() -> None:
        (places.directory / "go").touch()

    beside = asyncio.create_task(go())
    with pytest.raises(UnavailableError, match="does not come up"):  # the check is through: InputError else
        await HaProxy(places, str(program)).adopt_or_start("")
    await beside
