"""What the stand-in for a master sends: as Mesos 1.11 does, field for field, seen on a real one."""

from __future__ import annotations

import base64
import json
import uuid
from typing import Any

FRAMEWORK_ID = "5f1c8d0e-6a0f-4d0e-9a44-1d2f3a4b5c6d-0000"
ROLE = "bench"
HOSTS = 317
"""Of the reference installation."""


def record(event: dict[str, Any]) -> bytes:
    """The event in RecordIO: its length in decimal, a newline, itself."""
    data = json.dumps(event, separators=(",", ":")).encode()
    return b"%d\n%b" % (len(data), data)


def subscribed() -> bytes:
    return record(
        {
            "type": "SUBSCRIBED",
            "subscribed": {
                "framework_id": {"value": FRAMEWORK_ID},
                "heartbeat_interval_seconds": 15.0,
                "master_info": {"id": "5f1c8d0e", "ip": 16777343, "port": 5050, "hostname": "localhost"},
            },
        }
    )


def offers(numbers: range) -> bytes:
    """One OFFERS event with an offer of each of these hosts."""
    return record({"type": "OFFERS", "offers": {"offers": [_offer(number) for number in numbers]}})


def _offer(number: int) -> dict[str, Any]:
    host, address = number % HOSTS, f"10.0.{number % HOSTS // 250}.{number % HOSTS % 250 + 1}"
    allocated = {"allocation_info": {"role": ROLE}, "role": "*"}
    scalars = {"cpus": 16.0, "mem": 61440.0, "disk": 409600.0}
    return {
        "id": {"value": f"5f1c8d0e-6a0f-4d0e-9a44-1d2f3a4b5c6d-O{number}"},
        "framework_id": {"value": FRAMEWORK_ID},
        "agent_id": {"value": f"5f1c8d0e-6a0f-4d0e-9a44-1d2f3a4b5c6d-S{host}"},
        "hostname": f"host-{host}.example.org",
        "url": {
            "scheme": "http",
            "address": {"hostname": f"host-{host}.example.org", "ip": address, "port": 5051},
            "path": f"/slave({host + 1})",
        },
        "resources": [
            *(
                {"name": name, "type": "SCALAR", "scalar": {"value": value}, **allocated}
                for name, value in scalars.items()
            ),
            {
                "name": "ports",
                "type": "RANGES",
                "ranges": {"range": [{"begin": 31000, "end": 32000}]},
                **allocated,
            },
        ],
        "attributes": [
            {"name": "rack", "type": "TEXT", "text": {"value": f"r{host % 20}"}},
            {"name": "kind", "type": "TEXT", "text": {"value": "m4.4xlarge"}},
        ],
        "allocation_info": {"role": ROLE},
    }


def update(task_id: str, host_id: str, state: str, now: float) -> bytes:
    """A status update that is to be acknowledged."""
    unique = base64.b64encode(uuid.uuid4().bytes).decode()
    return record(
        {
            "type": "UPDATE",
            "update": {
                "status": {
                    "task_id": {"value": task_id},
                    "state": state,
                    "agent_id": {"value": host_id},
                    "executor_id": {"value": task_id},
                    "source": "SOURCE_EXECUTOR",
                    "timestamp": now,
                    "uuid": unique,
                    "container_status": {
                        "container_id": {"value": "b5d5b5b4-3d63-4a1c-8f3a-2e0f5b2f7a11"},
                        "network_infos": [{"ip_addresses": [{"ip_address": "10.0.0.1", "protocol": "IPv4"}]}],
                    },
                }
            },
        }
    )
