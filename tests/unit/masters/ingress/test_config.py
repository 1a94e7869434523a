"""HAProxy's configuration and the ingress' own address."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from masters.ingress.config import Options, configuration

PLAIN = Options(
    host="0.0.0.0",
    http_port=8082,
    https_port=None,
    certificate=None,
    public_url="http://127.0.0.1:8082",
    agent_ports=None,
    holder_port=9000,
    hold_s=120.0,
    check_key="k",
    maxconn=10_000,
    user=None,
)


def test_masters_are_told_the_public_address() -> None:
    text = configuration(replace(PLAIN, public_url="https://jenkins.example"))
    assert "X-Forwarded-Proto https\n" in text
    assert "X-Forwarded-Port 443\n" in text
    assert "redirect" not in text  # TLS ends before us


def test_tls_and_agents() -> None:
    certificate, url = Path("/etc/a b/ingress.pem"), "https://127.0.0.1:8443"
    secured = replace(PLAIN, https_port=8443, certificate=certificate, public_url=url, agent_ports=(50_000, 50_099))
    text = configuration(secured)
    assert "bind 0.0.0.0:8443 ssl crt /etc/a\\ b/ingress.pem alpn h2,http/1.1\n" in text
    assert "redirect code 308 location https://%[var(txn.host)]:8443%[pathq]" in text
    assert "bind 0.0.0.0:50000-50099\n" in text
    assert "frontend agents" not in configuration(PLAIN)


def test_a_held_request_is_waited_for_longer_than_it_may_be_held() -> None:
    assert "timeout server 600s" in configuration(PLAIN).partition("backend hold")[2]
    assert "timeout server 1060s" in configuration(replace(PLAIN, hold_s=1000)).partition("backend hold")[2]
