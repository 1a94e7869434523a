"""Who asks: users, their passwords and API tokens, sessions, crumbs."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from dataclasses import dataclass

from tests.fakes.jenkins.http import Request

_MAX_SESSIONS = 2000  # health checks take one each


class WrongLoginError(Exception):
    """Name or password is not so."""


@dataclass(slots=True)
class Session:
    """Of a browser; ``id`` is the cookie's value. ``fresh``: the cookie is not told yet."""

    id: str
    user: str | None = None
    fresh: bool = True


@dataclass(frozen=True, slots=True)
class Caller:
    """``user`` None: nobody who logged in. ``by_token``: no crumb is needed."""

    user: str | None
    by_token: bool
    session: Session | None


class Security:
    """``users``: name -> (password or None, API token or None). ``secured`` False: anybody may do everything."""

    def __init__(self, users: dict[str, tuple[str | None, str | None]], secured: bool) -> None:
        self._users, self.secured = users, secured
        self._cookie = f"JSESSIONID.{secrets.token_hex(4)}"
        self._salt = secrets.token_hex(16)
        self._sessions: dict[str, Session] = {}

    def caller(self, request: Request) -> Caller:
        """Raises WrongLoginError."""
        session = self._sessions.get(request.cookies().get(self._cookie, ""))
        given = request.headers.get("authorization", "")
        if not given.lower().startswith("basic "):
            return Caller(session.user if session else None, by_token=False, session=session)
        try:
            name, _, word = base64.b64decode(given[6:], validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise WrongLoginError from error
        _, token = self._users.get(name, (None, None))
        if token is not None and hmac.compare_digest(word.encode(), token.encode()):
            return Caller(name, by_token=True, session=session)
        if self._is_password(name, word):
            return Caller(name, by_token=False, session=session)
        raise WrongLoginError

    def log_in(self, name: str, password: str) -> Session | None:
        """A new session, None where the password is wrong."""
        if not self._is_password(name, password):
            return None
        session = self.new_session()
        session.user = name
        return session

    def log_out(self, session: Session) -> None:
        self._sessions.pop(session.id, None)

    def _is_password(self, name: str, word: str) -> bool:
        password = self._users.get(name, (None, None))[0]
        return password is not None and hmac.compare_digest(word.encode(), password.encode())

    def new_session(self) -> Session:
        session = Session(f"node0{secrets.token_hex(12)}0.node0")
        self._sessions[session.id] = session
        while len(self._sessions) > _MAX_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        return session

    def cookie(self, session: Session, prefix: str) -> str:
        return f"{self._cookie}={session.id}; Path={prefix or '/'}; HttpOnly"

    def crumb(self, caller: Caller) -> str:
        session = caller.session.id if caller.session else ""
        return hashlib.sha256(f"{caller.user or 'anonymous'};{session};{self._salt}".encode()).hexdigest()

    def crumb_is_good(self, caller: Caller, crumb: str) -> bool:
        return caller.session is not None and hmac.compare_digest(crumb.encode(), self.crumb(caller).encode())
