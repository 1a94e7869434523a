"""Answers with the headers that Jenkins, and Jetty under it, send with each kind."""

from __future__ import annotations

import html
import http
import json
from typing import Any
from urllib.parse import quote

from tests.fakes.jenkins.http import Response
from tests.fakes.jenkins.master import VERSION

_JETTY = "10.0.21"
Headers = list[tuple[str, str]]


class Pages:
    """Of one start of the master: ``session`` is in most answers."""

    def __init__(self, session: str) -> None:
        self._session = session

    def _told(self) -> Headers:
        return [("X-Jenkins", VERSION), ("X-Jenkins-Session", self._session)]

    def json(self, document: Any, pretty: bool, head: bool) -> Response:
        separators = (",", " : ") if pretty else (",", ":")
        text = json.dumps(document, ensure_ascii=False, indent=2 if pretty else None, separators=separators)
        headers = [
            *self._told(),
            ("X-Frame-Options", "deny"),
            ("Content-Type", "application/json;charset=utf-8"),
            *([] if head else [("Vary", "Accept-Encoding")]),
        ]
        return Response(200, text.encode(), headers)

    def page(self, title: str, inner: str) -> Response:
        """A page for people."""
        headers = [
            ("Content-Type", "text/html;charset=utf-8"),
            ("Expires", "0"),
            ("Cache-Control", "no-cache,no-store,must-revalidate"),
            ("X-Hudson", "1.395"),
            *self._told(),
            ("X-Frame-Options", "sameorigin"),
            ("Vary", "Accept-Encoding"),
        ]
        return Response(200, _document(title, inner), headers, chunked=True)

    def error(self, status: int, message: str = "", told: bool = False) -> Response:
        """An error page of Jenkins' own; ``told``: the message is in the header X-Error too."""
        first: Headers = [("X-Error", _in_header(message))] if told else []
        title = http.HTTPStatus(status).phrase if status != 400 else "Error"
        headers = [
            *first,
            ("Cache-Control", "no-cache,no-store,must-revalidate"),
            ("Content-Type", "text/html;charset=utf-8"),
            ("Expires", "0"),
            ("X-Hudson-Theme", "default"),
            ("Referrer-Policy", "same-origin"),
            ("Cross-Origin-Opener-Policy", "same-origin"),
            ("X-Hudson", "1.395"),
            *self._told(),
            ("X-Frame-Options", "sameorigin"),
        ]
        inner = f"<h1>{title}</h1><p>{html.escape(message)}</p>"
        return Response(status, _document(title, inner), headers, chunked=True)

    def log_in_first(self, target: str, prefix: str) -> Response:
        """To somebody who did not log in."""
        at = f"{prefix}/login?from={quote(target, safe='')}"
        text = (
            f"<html><head><meta http-equiv='refresh' content='1;url={at}'/>"
            f"<script id='redirect' data-redirect-url='{at}' src='{prefix}/static/{self._session}/scripts/redirect.js'>"
            "</script></head><body style='background-color:white; color:white;'>\nAuthentication required\n"
            "<!--\n-->\n\n</body></html>"
        )
        headers = [("Content-Type", "text/html;charset=utf-8"), ("X-Hudson", "1.395"), *self._told()]
        return Response(403, text.encode(), headers, chunked=True)


def starting() -> Response:
    """Before Jenkins is there: nothing in it says Jenkins but the text."""
    text = b"<html><head><title>Starting Jenkins</title></head><body><h1>Starting Jenkins</h1></body></html>"
    return Response(503, text, [("Content-Type", "text/html")])


def jetty_error(status: int, message: str, path: str) -> Response:
    """Jetty's own error page."""
    shown, where = html.escape(message), html.escape(path)
    text = (
        '<html>\n<head>\n<meta http-equiv="Content-Type" content="text/html;charset=ISO-8859-1"/>\n'
        f"<title>Error {status} {shown}</title>\n</head>\n<body><h2>HTTP ERROR {status} {shown}</h2>\n<table>\n"
        f"<tr><th>URI:</th><td>{where}</td></tr>\n<tr><th>STATUS:</th><td>{status}</td></tr>\n"
        f"<tr><th>MESSAGE:</th><td>{shown}</td></tr>\n<tr><th>SERVLET:</th><td>Stapler</td></tr>\n</table>\n"
        f'<hr/><a href="https://eclipse.org/jetty">Powered by Jetty:// {_JETTY}</a><hr/>\n\n</body>\n</html>\n'
    )
    headers = [
        ("Cache-Control", "must-revalidate,no-cache,no-store"),
        ("Content-Type", "text/html;charset=iso-8859-1"),
    ]
    return Response(status, text.encode("latin-1", "replace"), headers)


def wrong_login(path: str) -> Response:
    page = jetty_error(401, "Unauthorized", path)
    forget = "remember-me=; Path=/; Expires=Thu, 01-Jan-1970 00:00:00 GMT; Max-Age=0"
    page.headers[:0] = [("Set-Cookie", forget), ("WWW-Authenticate", 'Basic realm="Jenkins"')]
    return page


def redirect(location: str, status: int = 302) -> Response:
    more = [("Vary", "Accept-Encoding")] if status == 201 else []
    return Response(status, b"", [("Location", location), *more])


def nothing() -> Response:
    return Response(200, b"", [("Vary", "Accept-Encoding")])


def text(
    body: str | bytes,
    content_type: str = "text/plain;charset=utf-8",
    headers: Headers | None = None,
    chunked: bool = False,
) -> Response:
    data = body.encode() if isinstance(body, str) else body
    told = [("Content-Type", content_type), *(headers or []), ("Vary", "Accept-Encoding")]
    return Response(200, data, told, chunked=chunked)


def _document(title: str, inner: str) -> bytes:
    return (
        f'<!DOCTYPE html><html lang="en"><head><title>{html.escape(title)} [Jenkins]</title></head>'
        f"<body>{inner}</body></html>"
    ).encode()


def _in_header(message: str) -> str:
    return message.replace("\n", " ").replace("\r", " ")
