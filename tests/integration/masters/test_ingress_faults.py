"""What keeps the ingress from starting is told by the setting that is at fault."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from framework.errors import InputError
from tests.fakes.placed_masters import PlacedMasters
from tests.integration.masters.ingress_parts import ingress_of


async def test_an_agents_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(InputError, match=rf"agent_ports: 127\.0\.0\.1:{port} is taken by .* \(pid \d+\)"):
            async with ingress_of(tmp_path, PlacedMasters(), agent_ports=(port, port)):
                pass


async def test_a_haproxy_that_is_too_old(tmp_path: Path) -> None:
    old = tmp_path / "haproxy-2.2"
    old.write_text('#!/bin/sh\n[ "$1" = -v ] && echo "HAProxy version 2.2.9-2+deb11u6" && exit 0\nexit 1\n')
    old.chmod(0o755)
    with pytest.raises(InputError, match=r"is HAProxy 2\.2; 2\.6 or later is needed"):
        async with ingress_of(tmp_path / "ingress", PlacedMasters(), haproxy=str(old)):
            pass
