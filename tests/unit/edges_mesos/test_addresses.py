from __future__ import annotations

import pytest

from framework.edges.mesos.addresses import Address, parse_addresses, redirect_target
from framework.errors import InputError


def test_masters() -> None:
    urls = ["http://10.0.0.1:5050", "http://mesos-2", "mesos-3:80", "https://[::1]:7/"]
    assert parse_addresses(urls) == (
        ("10.0.0.1", 5050, False),
        ("mesos-2", 5050, False),
        ("mesos-3", 80, False),
        ("::1", 7, True),
    )
    assert (str(Address("::1", 7)), Address("::1", 7).url) == ("[::1]:7", "http://[::1]:7")
    assert Address("m", 7, True).url == "https://m:7"
    assert str(Address("m", 7)) == "m:7"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://m:5050", "only http"),
        ("zk://m:2181/mesos", "only http"),
        ("http://", "no host"),
        ("", "no host"),
        ("http://user:hunter2@m:5050", "credentials"),
        ("http://m:5050/path", "after the port"),
        ("http://m:5050?x=1", "after the port"),
        ("http://m:0", "port 0"),
        ("http://m:99999", "out of range"),
        ("http://m:x", "Port"),
        ("http://möve:1", "ASCII"),
    ],
)
def test_what_is_no_master(url: str, why: str) -> None:
    with pytest.raises(InputError, match=why) as caught:
        parse_addresses([url])
    assert "hunter2" not in str(caught.value)
    assert caught.value.faults[0].where == "mesos.url"


def test_every_fault_at_once() -> None:
    with pytest.raises(InputError) as caught:
        parse_addresses(["ftp://a:1", "http://b:2", "http://c:0"])
    assert len(caught.value.faults) == 2
    with pytest.raises(InputError, match="names no Mesos master"):
        parse_addresses([])


@pytest.mark.parametrize(
    ("location", "leader"),
    [
        ("//10.0.0.2:5050/api/v1/scheduler", Address("10.0.0.2", 5050)),
        ("http://10.0.0.2:5050/api/v1/scheduler", Address("10.0.0.2", 5050)),
        ("https://10.0.0.2:5050/api/v1/scheduler", Address("10.0.0.2", 5050, True)),
        ("//[fd00::2]:5050", Address("fd00::2", 5050)),
        ("//localhost:5050", Address("localhost", 5050)),
        ("", None),
        ("/elsewhere", None),
        ("ftp://m:1/", None),
        ("//m:port/", None),
    ],
)
def test_redirects(location: str, leader: Address | None) -> None:
    assert redirect_target(location, Address("m", 1)) == leader


def test_a_redirect_without_a_scheme_keeps_that_of_the_master() -> None:
    assert redirect_target("//b:2/x", Address("a", 1, True)) == Address("b", 2, True)
