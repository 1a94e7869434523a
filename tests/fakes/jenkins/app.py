"""From a request to its answer: is the master up, who asks, may they, and which page is it."""

from __future__ import annotations

import logging

from tests.fakes.jenkins import pages, routes_jobs, routes_master, routes_nodes
from tests.fakes.jenkins.http import Request, Response
from tests.fakes.jenkins.master import Master
from tests.fakes.jenkins.pages import Pages
from tests.fakes.jenkins.routing import Call, Routes
from tests.fakes.jenkins.security import Caller, Security, WrongLoginError

LOG = logging.getLogger("jenkins")

_OPEN = {"login", "loginError", "j_spring_security_check", "jnlpJars", "tcpSlaveAgentListener", "wsagents", "whoAmI"}
"""First parts of the paths that anybody may ask for."""
_WITH_SESSION = {"crumbIssuer", "login"}
_CRUMBLESS = {"wsagents"}


class App:
    """``master`` is None as long as it starts."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._master: Master | None = None
        self._security: Security | None = None

    def ready(self, master: Master, security: Security) -> None:
        self._master, self._security = master, security
        self._pages = Pages(master.session)

    async def handle(self, request: Request) -> Response:
        master, security = self._master, self._security
        if master is None or security is None:
            return pages.starting()
        if request.path == self._prefix and self._prefix:
            return pages.redirect(_address(request, self._prefix))
        if not request.path.startswith(f"{self._prefix}/"):
            return pages.jetty_error(404, "Not Found", request.path)
        path = request.path.removeprefix(self._prefix)
        try:
            caller = security.caller(request)
        except WrongLoginError:
            return pages.wrong_login(request.path)
        first = path.split("/", 2)[1]
        if caller.session is None and not caller.by_token and first in _WITH_SESSION:
            caller = Caller(caller.user, by_token=False, session=security.new_session())
        call = Call(request, caller, master, security, self._pages, _address(request, self._prefix))
        answer = await self._answer(path, first, call)
        self._tell_session(answer, call)
        return answer

    async def _answer(self, path: str, first: str, call: Call) -> Response:
        request, caller, security = call.request, call.caller, call.security
        if request.method == "POST" and not caller.by_token and first not in _CRUMBLESS:
            crumb = request.headers.get("jenkins-crumb") or request.form().get("Jenkins-Crumb", "")
            if not security.crumb_is_good(caller, crumb):
                return pages.jetty_error(403, "No valid crumb was included in the request", request.path)
        if security.secured and caller.user is None and first not in _OPEN:
            return call.pages.log_in_first(request.target, self._prefix)
        try:
            return await _routes_of(first).answer(path.rstrip("/") or "/", call)
        except (
            OSError,
            ValueError,
            RecursionError,
        ) as error:  # the disk's, or no JDK; or nonsense that nobody can read
            LOG.error("%s %s: %s", request.method, request.path[:200], error)
            return call.pages.error(500, str(error))

    def _tell_session(self, answer: Response, call: Call) -> None:
        """The cookie goes out once; a page with a form, as most error pages are, makes a session too."""
        session = call.caller.session
        if session is None and not call.caller.by_token and answer.status in (404, 405):
            session = call.security.new_session()
        if session is not None and session.fresh:
            session.fresh = False
            answer.headers.append(("Set-Cookie", call.security.cookie(session, self._prefix)))


def _routes_of(first: str) -> Routes:
    if first == "computer" or first == "wsagents":
        return routes_nodes.routes
    if first in ("job", "queue", "label", "createItem"):
        return routes_jobs.routes
    return routes_master.routes


def _address(request: Request, prefix: str) -> str:
    """The master's, as the caller (or the proxy before it) wrote it."""
    headers = request.headers
    scheme = headers.get("x-forwarded-proto", "http").split(",")[0].strip()
    host = (headers.get("x-forwarded-host") or headers.get("host", "localhost")).split(",")[0].strip()
    port = headers.get("x-forwarded-port", "").split(",")[0].strip()
    if port and ":" not in host and port != {"http": "80", "https": "443"}.get(scheme):
        host = f"{host}:{port}"
    return f"{scheme}://{host}{prefix}/"
