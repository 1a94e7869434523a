"""HAProxy's configuration, as text. Pure.

Routes are not in it but in two maps, which change while it runs. A request's address is looked up there, and its one
server ``any`` has no address of its own: the map's is set for each request (``set-dst``). So a master that moves is one
``set map``, and no reload. Who cannot be connected to is tried at the holder instead (``redispatch``), before anything
of the request was sent; so a request that comes between a master's end and the next route is held, not lost.

Figures: HAProxy's 2.6 manual, and what Jenkins does: it pings WebSockets each 30 s, and answers within seconds but for
pages that compute, such as a support bundle.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from framework.urls import bracketed
from masters.ingress.routes import AGENTS_MAP, HOLD, ROUTES_MAP

ADMIN_SOCKET = "admin.sock"
CHECK_SOCKET = "check.sock"
NOT_BELIEVED = (
    *("Forwarded", "X-Forwarded-For", "X-Forwarded-Prefix", "X-Forwarded-Server", "X-Forwarded-Https"),
    *("X-Proxied-Https", "Proxy-Ssl-Id", "Proxy-Auth-Cert"),
)
"""What Jenkins, or Jetty in it (ForwardedRequestCustomizer), would believe of a client, besides what is set here."""
CHECK_HEADER = "X-Butlery-Check"
TENANT_HEADER = "X-Butlery-Tenant"
USE_TABLE = "last_use"
BUFFER_BYTES = 32_768
"""Of a request that can be sent again: a webhook of GitHub's is seldom more."""
SERVER_TIMEOUT_S = 600
MAX_TENANTS = 20_000

BAD_REQUEST = "This is no request that can be answered.\\n"
NOT_FOUND = "Nothing is served at this address.\\n"
UNAVAILABLE = "The service behind this address cannot answer now. Please try again in a few seconds.\\n"


@dataclass(frozen=True, slots=True)
class Options:
    """``user``: whom HAProxy becomes, of the group ``group``, where it is started by root."""

    host: str
    http_port: int
    https_port: int | None
    certificate: Path | None
    public_url: str  # where users find it
    agent_ports: tuple[int, int] | None
    holder_port: int
    hold_s: float
    check_key: str
    maxconn: int
    user: tuple[str, str] | None


def configuration(options: Options) -> str:
    """The whole file; its sockets and maps are named relative to the directory that HAProxy is started in."""
    parts = [_global(options), _defaults(), _use(), _frontend(options), _backends(options)]
    if options.agent_ports is not None:
        parts.append(_agents(options, options.agent_ports))
    return "\n".join(parts)


def _global(options: Options) -> str:
    user = f"    user {options.user[0]}\n    group {options.user[1]}\n" if options.user else ""
    return f"""# Written by `butlery tenants serve` at every start.
global
    master-worker
    stats socket unix@{ADMIN_SOCKET} mode 600 level admin expose-fd listeners
    stats timeout 30s
{user}    maxconn {options.maxconn}
    tune.bufsize {BUFFER_BYTES}
    # A client that never ends its WebSocket must not keep the process before a reload for ever.
    hard-stop-after 12h
    ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets
"""


def _defaults() -> str:
    return f"""defaults
    mode http
    timeout connect 2s
    timeout client 60s
    timeout client-fin 30s
    timeout server {SERVER_TIMEOUT_S}s
    timeout http-request 15s
    timeout http-keep-alive 75s
    timeout tunnel 1h
    timeout queue 10s
    option http-keep-alive
    option dontlognull
    # That a client has gone matters to the holder alone; said of its backend alone it is without effect
    # (https://github.com/haproxy/haproxy/issues/2344), so the others take it back.
    option abortonclose
    option clitcpka
    option srvtcpka
    http-error status 503 content-type text/plain string "{UNAVAILABLE}" hdr Retry-After 5 hdr Cache-Control no-store
"""


def _use() -> str:
    return f"""backend {USE_TABLE}
    # Requests of each tenant: how many now, and, by when its entry expires, when the last was.
    stick-table type string len 65 size {MAX_TENANTS} expire 1d store conn_cur
"""


def _frontend(options: Options) -> str:
    found = "{ var(txn.route) -m found }"
    lines = [f"bind {bracketed(options.host)}:{options.http_port}"]
    if options.https_port is not None and options.certificate is not None:
        lines.append(
            f"bind {bracketed(options.host)}:{options.https_port} ssl crt {quoted(options.certificate)} "
            "alpn h2,http/1.1"
        )
    lines += [
        f"bind unix@{CHECK_SOCKET} mode 600 name check",
        "acl websocket req.hdr(Upgrade) -i websocket",
        "acl upgrade req.hdr(Connection) -i -m sub upgrade",
        "acl agent path_end /wsagents/",
        "acl check so_name check",
        # Nothing but a path leads anywhere: no CONNECT, no `OPTIONS *`; a whole URL is the path in it.
        f'http-request return status 400 content-type text/plain string "{BAD_REQUEST}" if METH_CONNECT',
        f'http-request return status 400 content-type text/plain string "{BAD_REQUEST}" unless {{ path_beg / }}',
        "http-request set-uri %[pathq] unless { url_beg / }",
        # What a client says of its connection is for us alone: further on, it could have headers of ours left out.
        "http-request del-header Connection unless websocket upgrade",
        "http-request del-header Upgrade unless websocket upgrade",
        # HOST:PORT, upper case and a dot at its end are one name.
        "http-request set-var(txn.host) req.hdr(Host),lower,host_only,rtrim(.)",
        "http-request set-var(txn.first) path,field(2,/)",
        f"http-request set-var(txn.route) var(txn.host),concat(/,txn.first),map_str({ROUTES_MAP})",
        f"http-request set-var(txn.route) var(txn.host),map_str({ROUTES_MAP}) unless {found}",
        f"http-request set-var(txn.route) str(/),concat(,txn.first),map_str({ROUTES_MAP}) unless {found}",
        f'http-request return status 404 content-type text/plain string "{NOT_FOUND}" hdr Cache-Control no-store '
        f"unless {found}",
    ]
    if options.https_port is not None:
        port = urlsplit(options.public_url).port
        at = f":{port}" if port is not None else ""
        lines.append(
            f"http-request redirect code 308 location https://%[var(txn.host)]{at}%[pathq] unless {{ ssl_fc }} or check"
        )
    lines += [
        "http-request set-var(txn.tenant) var(txn.route),field(1,|)",
        # Neither what only verifies a route nor an agent that stays connected is a use of the master; a command line
        # that speaks to it by WebSocket is.
        f"http-request track-sc0 var(txn.tenant) table {USE_TABLE} "
        f"unless {{ req.hdr({CHECK_HEADER}) -m str {options.check_key} }} or websocket upgrade agent",
        f"http-request del-header {CHECK_HEADER}",
        f"http-request set-header {CHECK_HEADER} yes if check",
        f"http-request set-header {TENANT_HEADER} %[var(txn.tenant)]",
        *_forwarded(options),
        "http-response del-header Server",
        f"use_backend hold if {{ var(txn.route),field(2,|) -m str {HOLD} }}",
        "use_backend reading if { method GET HEAD OPTIONS }",
        "default_backend writing",
    ]
    return "frontend ingress\n" + "".join(f"    {line}\n" for line in lines)


def _forwarded(options: Options) -> list[str]:
    """What Jenkins makes its own address from. What clients say of it themselves is not believed."""
    url = urlsplit(options.public_url)
    public_port = url.port or (443 if url.scheme == "https" else 80)
    lines = [f"http-request del-header {name}" for name in NOT_BELIEVED]
    lines += [
        f"http-request set-header X-Forwarded-Proto {url.scheme}",
        "http-request set-header X-Forwarded-Host %[req.hdr(Host)]",
        f"http-request set-header X-Forwarded-Port {public_port}",
        "option forwardfor",
    ]
    return lines


def _backends(options: Options) -> str:
    holder = f"server holder 127.0.0.1:{options.holder_port}"
    hold_s = max(SERVER_TIMEOUT_S, round(options.hold_s) + 60)

    def masters(name: str, *more: str) -> str:
        lines = [
            "no option abortonclose",
            "http-request set-dst var(txn.route),field(2,|)",
            "http-request set-dst-port var(txn.route),field(3,|)",
            *more,
            "retries 3",
            "option redispatch 1",
            "use-server any if { always_true }",
            # Weight 0: chosen by the line above alone, and not again once it could not be connected to.
            "server any 0.0.0.0:0 weight 0",
            holder,
        ]
        return f"backend {name}\n" + "".join(f"    {line}\n" for line in lines)

    return "\n".join(
        (
            masters("reading", "retry-on conn-failure empty-response"),
            # A connection that was used before may be closed by the master just as the request is sent; whether that
            # did something cannot be known. So each request that changes something has a connection of its own.
            masters("writing", "option http-server-close", "retry-on conn-failure"),
            # A service that is killed is up again within seconds; what it held is given to the next one.
            f"""backend {HOLD}
    timeout server {hold_s}s
    # Only what is whole in the buffer can be given again; of what does not fit, the first piece is waited for.
    option http-buffer-request
    timeout http-request 60s
    retry-on conn-failure empty-response
    retries 30
    {holder}
""",
        )
    )


def _agents(options: Options, ports: tuple[int, int]) -> str:
    return f"""frontend agents
    mode tcp
    timeout client 1h
    bind {bracketed(options.host)}:{ports[0]}-{ports[1]}
    tcp-request connection set-var(sess.agents) dst_port,map_str({AGENTS_MAP})
    tcp-request connection reject unless {{ var(sess.agents) -m found }}
    default_backend agents

backend agents
    mode tcp
    no option abortonclose
    timeout server 1h
    tcp-request content set-dst var(sess.agents),field(1,|)
    tcp-request content set-dst-port var(sess.agents),field(2,|)
    server any 0.0.0.0:0
"""


def quoted(path: Path) -> str:
    """As one word of HAProxy's."""
    return "".join(f"\\{char}" if char in " \"'#\\$" else char for char in str(path))
