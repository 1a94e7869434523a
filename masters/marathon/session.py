"""The one session that all calls to Marathon go through, those of the ``marathon`` client too.

Several addresses: the one that answered last is asked, and another after it fails. Standbys answer for the leader, or
say where it is. Neither ``~/.netrc`` nor cookies take part; proxies do, but for this machine itself.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.auth import HTTPBasicAuth
from requests.utils import get_environ_proxies

import framework
from framework.errors import Fault, InputError, UnavailableError
from framework.urls import is_loopback
from masters.bounded import BoundedAdapter, Bounds, CallBounds, StreamBounds, within
from masters.marathon.answers import refusal

CONNECT_TIMEOUT_S = 5.0
MOST_BYTES = 32 << 20
"""Of one answer. A shard of masters has less than 500 kB; the launch queue, which cannot be asked for in parts, some

10 MB where 2000 of them wait."""
MOST_HOPS = 3
_STREAM = "text/event-stream"
_REDIRECTS = frozenset((301, 302, 303, 307, 308))


class MarathonSession(requests.Session):
    """Safe to use from many threads."""

    def __init__(
        self,
        urls: Sequence[str],
        credentials: tuple[str, str] | None,
        ca_file: Path | None,
        *,
        call_timeout_s: float,
        connections: int,
    ) -> None:
        """``connections`` are kept open to each address. Raises InputError where ``ca_file`` has no certificates."""
        super().__init__()
        self.urls = tuple(url.rstrip("/") for url in urls)
        self._asked = 0  # index of the address to ask
        self._ca = _checked(ca_file) if ca_file is not None else True
        self._call_timeout_s = call_timeout_s
        self.trust_env = False
        self.auth = HTTPBasicAuth(*credentials) if credentials is not None else _no_auth
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        self.headers["User-Agent"] = f"butlery/{framework.__version__}"
        self.headers["Accept-Encoding"] = "identity"  # what is unpacked would be out of bounds, and costs more here
        adapter = BoundedAdapter(pool_connections=len(self.urls) + MOST_HOPS, pool_maxsize=connections)
        for scheme in ("http://", "https://"):
            self.mount(scheme, adapter)

    @property
    def who(self) -> str:
        """Who is asked, for people."""
        return self._who(self._asked)

    def _who(self, asked: int) -> str:
        return f"Marathon at {self.urls[asked]}"

    def request(self, method: str | bytes, url: str | bytes, *_given: Any, **options: Any) -> requests.Response:
        """As ``call``, for the ``marathon`` client, which is told no address: ``url`` is a path. Its own timeouts and

        certificates do not count, and it does not look at what is no JSON where it needs nothing of the answer.
        """
        answer = self.call(str(method), str(url), params=options.get("params"), body=options.get("data"))
        kind = answer.headers.get("Content-Type", "")
        if answer.content and "json" not in kind:
            raise UnavailableError(f"{self.who} answered {method!s} {url!s} with {kind[:60]!r}; is it a Marathon?")
        return answer

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: str | bytes | None = None,
    ) -> requests.Response:
        """The whole answer, that is 2xx. One attempt.

        Raises UnavailableError (what was asked may have been done), or what ``answers.refusal`` makes of the answer.
        """
        bounds = CallBounds(self.who, self._call_timeout_s, MOST_BYTES)
        return self._ask(method, path, bounds, "application/json", params=params, data=body)

    def events(
        self, path: str, params: Mapping[str, Any], *, idle_s: float, stop: Callable[[], bool]
    ) -> requests.Response:
        """An event stream, to be read from ``raw`` and closed. Raises as ``call``; StoppedError, as reading it does."""
        bounds = StreamBounds(self.who, idle_s, stop)
        answer = self._ask("GET", path, bounds, _STREAM, params=params, stream=True)
        if not answer.headers.get("Content-Type", "").startswith(_STREAM):
            answer.close()
            raise UnavailableError(f"{self.who} answered {path} with no event stream; is it a Marathon?")
        return answer

    def get_redirect_target(self, _response: requests.Response) -> None:
        """None for requests to follow: ``_ask`` does that."""

    def _ask(self, method: str, path: str, bounds: Bounds, kind: str, **options: Any) -> requests.Response:
        asked = self._asked
        try:
            answer = self._at_leader(method, self.urls[asked] + path, bounds, kind, options)
        except UnavailableError:
            self._turn_from(asked)
            raise
        if 200 <= answer.status_code < 300:
            return answer
        with answer, library_errors(self._who(asked)):
            kind_told = answer.headers.get("Content-Type", "")
            error = refusal(answer.status_code, kind_told, answer.content, self._who(asked), f"{method} {path}")
        if isinstance(error, UnavailableError):
            self._turn_from(asked)
        raise error

    def _turn_from(self, asked: int) -> None:
        """Another address is asked next, unless another thread has seen to that."""
        if self._asked == asked:
            self._asked = (asked + 1) % len(self.urls)

    def _at_leader(
        self, method: str, url: str, bounds: Bounds, kind: str, options: Mapping[str, Any]
    ) -> requests.Response:
        headers = {"Accept": kind}
        if options.get("data") is not None:
            headers["Content-Type"] = "application/json"
        for _ in range(MOST_HOPS):
            with within(bounds):
                answer = self._send(method, url, headers, options)
            if answer.status_code not in _REDIRECTS:
                return answer
            answer.close()
            url = _leader(url, answer.headers.get("Location", ""))
        raise UnavailableError(f"Marathon at {_server(url)} sends us from one address to the next, and to no leader")

    def _send(self, method: str, url: str, headers: Mapping[str, str], options: Mapping[str, Any]) -> requests.Response:
        with library_errors(f"Marathon at {_server(url)}"):
            return super().request(
                method,
                url,
                headers=headers,
                timeout=(min(CONNECT_TIMEOUT_S, self._call_timeout_s), self._call_timeout_s),
                verify=self._ca,
                proxies={} if is_loopback(url) else get_environ_proxies(url),
                allow_redirects=False,
                **options,
            )


@contextmanager
def library_errors(who: str) -> Iterator[None]:
    """Those of requests and what is below it as UnavailableError."""
    try:
        yield
    except requests.exceptions.SSLError as error:
        raise UnavailableError(f"{who}: its certificate is not trusted: {_innermost(error)}") from error
    except requests.exceptions.ConnectTimeout as error:
        raise UnavailableError(f"{who} did not take the connection in time") from error
    except (OSError, requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
        raise UnavailableError(f"{who} cannot be reached, or breaks off: {_innermost(error)}") from error


def _checked(ca_file: Path) -> str:
    try:
        ssl.create_default_context(cafile=str(ca_file))
    except OSError as error:
        reason = error.strerror if error.strerror and not isinstance(error, ssl.SSLError) else "it holds none"
        raise InputError([Fault("masters.ca_file", f"certificates cannot be read of {ca_file}: {reason}")]) from error
    return str(ca_file)


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """In the place of credentials, where requests would look for some in ``~/.netrc``."""
    return request


def _leader(url: str, location: str) -> str:
    """Where a redirect leads. It is followed, with our credentials, to the same resource elsewhere: that is how a

    standby sends on, and a page to log in at is not asked. Raises UnavailableError.
    """
    try:
        told = urljoin(url, location)
        before, after = urlsplit(url), urlsplit(told)
        usable = after.scheme == "https" or (before.scheme, after.scheme) == ("http", "http")
        if location and usable and after.hostname and after.path == before.path and not after.username:
            return told.partition("?")[0]  # the parameters are sent again
    except ValueError:
        pass
    raise UnavailableError(f"Marathon at {_server(url)} sends us elsewhere, and not to a leader; is it a Marathon?")


def _server(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _innermost(error: BaseException) -> str:
    """What the system said, such as ``Connection refused``."""
    reason: BaseException | None = error
    while reason is not None:
        error, reason = reason, reason.__cause__ or reason.__context__
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
