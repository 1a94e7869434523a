"""What the Marathon-compatible server does with what it cannot use, on a real Mesos. Every answer is a proper one."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.acceptance.marathon_server import MarathonApi, MarathonServer, marathon_server, sleeper

MEBIBYTE = 1 << 20


@pytest.fixture(scope="module")
def server() -> Iterator[MarathonServer]:
    with marathon_server(pretend=True) as server:
        yield server


def refused(api: MarathonApi, status: int, given: object, path: str = "/v2/apps", method: str = "POST") -> Any:
    answer = api.call(method, path, json=given)
    assert answer.status_code == status, answer.text
    return answer.json()


def details(told: Any) -> dict[str, list[str]]:
    return {one["path"]: one["errors"] for one in told["details"]}


def test_all_faults_are_told_at_once(api: MarathonApi) -> None:
    given = {
        "id": "/wrong",
        "cpus": 0,
        "instances": -1,
        "upgradeStrategy": {"minimumHealthCapacity": 2, "maximumOverCapacity": 1},
        "constraints": [["hostname", "NEAR"]],
    }
    told = refused(api, 422, given)
    assert told["message"] == "Object is not valid"
    assert {"/cpus", "/instances", "/upgradeStrategy/minimumHealthCapacity", "/constraints(0)"} <= details(told).keys()


def test_what_is_no_json_or_of_the_wrong_kind(api: MarathonApi) -> None:
    for body in (
        b"",
        b"{",
        b'{"id": NaN}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"id": "/a", "cpus": 1' + b"0" * 5000 + b"}",
    ):
        answer = api.call("POST", "/v2/apps", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code in (400, 422), (body[:50], answer.text)
    assert details(refused(api, 400, {"id": 1, "cmd": True})) == {
        "/id": ["error.expected.jsstring"],
        "/cmd": ["error.expected.jsstring"],
    }


def test_a_doubled_key_is_told(api: MarathonApi) -> None:
    body = b'{"id": "/twice", "cmd": "true", "labels": {"a": "1", "a": "2"}}'
    answer = api.call("POST", "/v2/apps", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert "labels" in answer.text


def test_a_body_of_a_mebibyte_is_taken_and_one_that_is_too_large_is_not(api: MarathonApi) -> None:
    large = sleeper("/large", instances=0, env={f"NAME_{number}": "x" * 1024 for number in range(1024)})
    assert len(json.dumps(large)) > MEBIBYTE
    api.deploy("POST", "/v2/apps", large)
    assert api.app("/large")["env"] == large["env"]
    connection = http.client.HTTPConnection(api.server.url.removeprefix("http://"), timeout=30)
    with closing(connection):  # by itself, as it is refused before all of it is sent
        connection.putrequest("POST", "/v2/apps")
        connection.putheader("Authorization", api.server.authorization)
        connection.putheader("Content-Length", str(20 * MEBIBYTE))
        connection.endheaders(b"{")
        assert connection.getresponse().status == 413


@pytest.mark.parametrize("app_id", ["/Upper", "/a b", "/-a", "/a-", "/a_b", "", "/tasks/é", "/" + "a" * 300])
def test_ids_with_wrong_characters(api: MarathonApi, app_id: str) -> None:
    told = refused(api, 422, sleeper(app_id))
    assert "/id" in details(told)


def test_circular_dependencies(api: MarathonApi) -> None:
    first = sleeper("one", dependencies=["/circle/two"])
    second = sleeper("two", dependencies=["/circle/one"])
    told = refused(api, 422, {"id": "/circle", "apps": [first, second]}, "/v2/groups")
    assert "cycl" in json.dumps(told).lower()
    assert api.call("GET", "/v2/groups/circle").status_code == 404


def test_a_port_asked_twice(api: MarathonApi) -> None:
    told = refused(api, 422, sleeper("/twice", portDefinitions=[{"port": 10_500}, {"port": 10_500}]))
    assert any(path.startswith("/portDefinitions") for path in details(told))
    names = [{"port": 0, "name": "web"}, {"port": 0, "name": "web"}]
    assert any(
        path.startswith("/portDefinitions") for path in details(refused(api, 422, sleeper("/t", portDefinitions=names)))
    )


def test_a_scale_to_less_than_nothing(api: MarathonApi) -> None:
    api.deploy("POST", "/v2/apps", sleeper("/scaled"))
    for method in ("PUT", "PATCH"):
        told = refused(api, 422, {"instances": -1}, "/v2/apps/scaled", method)
        assert list(details(told)) == ["/instances"]
    assert api.app("/scaled")["instances"] == 1
    assert refused(api, 422, {"scaleBy": -1}, "/v2/groups/", "PUT")


def test_what_is_not_there(api: MarathonApi) -> None:
    for method, path in (
        ("GET", "/v2/apps/no"),
        ("DELETE", "/v2/apps/no"),
        ("POST", "/v2/apps/no/restart"),
        ("GET", "/v2/apps/no/tasks"),
        ("DELETE", "/v2/apps/no/tasks"),
        ("GET", "/v2/apps/no/versions"),
        ("GET", "/v2/groups/no"),
        ("DELETE", "/v2/groups/no"),
        ("DELETE", "/v2/deployments/no"),
        ("DELETE", "/v2/queue/no/delay"),
        ("GET", "/v2/nothing"),
    ):
        answer = api.call(method, path)
        assert answer.status_code == 404, (method, path, answer.text)
        assert answer.json()["message"]
    assert refused(api, 400, {"ids": ["no"]}, "/v2/tasks/delete")["message"]


def test_a_slow_client_holds_nobody_up(api: MarathonApi) -> None:
    host, port = api.server.url.removeprefix("http://").split(":")
    api.deploy("POST", "/v2/apps", sleeper("/large", instances=0, env={"NAME": "x" * (4 * MEBIBYTE)}))
    slow: list[socket.socket] = []
    try:
        for _ in range(20):
            client = socket.create_connection((host, int(port)), timeout=10)
            slow.append(client)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            head = f"GET /v2/apps HTTP/1.1\r\nHost: {host}\r\nAuthorization: {api.server.authorization}\r\n\r\n"
            client.sendall(head.encode())  # its answer is not read
        half = socket.create_connection((host, int(port)), timeout=10)
        slow.append(half)
        half.sendall(b"POST /v2/apps HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        done = threading.Event()

        def ask() -> None:
            api.deploy("POST", "/v2/apps", sleeper("/beside"))
            done.set()

        threading.Thread(target=ask, daemon=True).start()
        assert done.wait(60)
    finally:
        for client in slow:
            client.close()


def test_nobody_without_credentials(api: MarathonApi) -> None:
    for authorization in ("Basic eDp5", "Bearer x", "Basic"):
        answer = api.call("GET", "/v2/apps", auth=lambda request: request, headers={"Authorization": authorization})
        assert answer.status_code == 401
        assert answer.json()["message"] == "Invalid username or password."
        assert answer.headers["WWW-Authenticate"].startswith("Basic")
