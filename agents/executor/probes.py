"""Looks at a service by HTTP, HTTPS or TCP, as Mesos' own checkers make them; nothing here waits.

Those of Mesos run ``curl -L -k`` and ``mesos-tcp-connect`` (src/checks/checker_process.cpp of Mesos 1.11): certificates
are not verified, redirects are followed, and what is asked is 127.0.0.1 or ::1 in the service's own network. To enter
that takes root; others ask the service's own address.
"""

from __future__ import annotations

import errno
import os
import socket

from agents.executor.watch import READ, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from agents.executor.watch import Watch

    Done = Callable[[int, str], None]
    """Takes the HTTP status, for TCP 1, or 0 with the reason why there is none."""

MAX_REDIRECTS = 10
MAX_HEAD_BYTES = 64 * 1024
_HERE = ("127.0.0.1", "localhost", "[::1]")


class Network:
    """A service's own: a process in it, and its addresses, which are asked where this process may not enter there."""

    def __init__(self, pid: int, addresses: tuple[str, ...]) -> None:
        self.pid = pid
        self.addresses = addresses


class Probe:
    """One look. ``start`` it; ``done`` is called once unless it is cancelled first."""

    def __init__(
        self, watch: Watch, kind: str, port: int, path: str, ipv6: bool, network: Network | None, done: Done
    ) -> None:
        """``network``: where the service listens; None: in this process' own."""
        self._watch = watch
        self._kind = kind
        self._port = port
        self._path = path
        self._family = socket.AF_INET6 if ipv6 else socket.AF_INET
        self._address = "::1" if ipv6 else "127.0.0.1"
        self._network = network
        self._done = done
        self._redirects = 0
        self._socket: socket.socket | None = None
        self._plain: socket.socket | None = None
        self._raw = b""

    def start(self) -> None:
        try:
            made = self._made()
            made.setblocking(False)
            self._socket = made
            code = made.connect_ex((self._address, self._port))
        except OSError as error:
            self._end(0, "cannot connect: %s" % (error.strerror or error))
            return
        if code not in (0, errno.EINPROGRESS):
            self._end(0, "cannot connect to port %d: %s" % (self._port, os.strerror(code)))
            return
        self._watch.add(made.fileno(), self._connected, WRITE)

    def cancel(self) -> None:
        if self._socket is not None:
            self._watch.drop(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _made(self) -> socket.socket:
        if self._network is None:
            return socket.socket(self._family, socket.SOCK_STREAM)
        from agents.executor.linux import socket_beside

        try:
            return socket_beside(self._network.pid, self._family)
        except PermissionError:
            six = self._family == socket.AF_INET6
            found = next((one for one in self._network.addresses if (":" in one) == six), None)
            if found is None:
                raise
            self._address = found
            return socket.socket(self._family, socket.SOCK_STREAM)

    def _end(self, status: int, reason: str) -> None:
        self.cancel()
        self._done(status, reason)

    def _connected(self) -> None:
        assert self._socket is not None  # noqa: S101 - it is what is watched
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._end(0, "cannot connect to port %d: %s" % (self._port, os.strerror(code)))
        elif self._kind == "tcp":
            self._end(1, "")
        elif self._kind == "https":
            self._wrap(self._socket)
        else:
            self._ask()

    def _wrap(self, plain: socket.socket) -> None:
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self._watch.drop(plain.fileno())
        try:
            self._socket = context.wrap_socket(plain, do_handshake_on_connect=False)
        except OSError as error:
            self._end(0, "TLS: %s" % error)
            return
        self._shake()

    def _shake(self) -> None:
        import ssl

        made = self._socket
        assert isinstance(made, ssl.SSLSocket)  # noqa: S101 - _wrap has made it
        try:
            made.do_handshake()
        except ssl.SSLWantReadError:
            self._watch.add(made.fileno(), self._shake, READ)
        except ssl.SSLWantWriteError:
            self._watch.add(made.fileno(), self._shake, WRITE)
        except OSError as error:
            self._end(0, "TLS: %s" % error)
        else:
            self._ask()

    def _ask(self) -> None:
        made = self._socket
        assert made is not None  # noqa: S101 - it is connected
        host = "[%s]" % self._address if self._family == socket.AF_INET6 else self._address
        lines = (
            "GET %s HTTP/1.1" % self._path,
            "Host: %s:%d" % (host, self._port),
            "User-Agent: butlery",
            "Accept: */*",
            "Connection: close",
            "\r\n",
        )
        try:
            made.sendall("\r\n".join(lines).encode("utf-8"))  # the buffer of a new connection has room for it
        except OSError as error:
            self._end(0, "the request: %s" % error)
            return
        self._raw = b""
        self._watch.add(made.fileno(), self._answered, READ)

    def _answered(self) -> None:
        made = self._socket
        assert made is not None  # noqa: S101 - it is what is watched
        try:
            data = made.recv(16384)
        except OSError as error:
            if error.errno != errno.EAGAIN and type(error).__name__ not in ("SSLWantReadError", "SSLWantWriteError"):
                self._end(0, "the answer: %s" % error)
            return
        if not data:
            self._end(0, "the connection was closed before an answer")
            return
        self._raw += data
        self._take_head()

    def _take_head(self) -> None:
        head, found, tail = self._raw.partition(b"\r\n\r\n")
        if not found:
            if len(self._raw) > MAX_HEAD_BYTES:
                self._end(0, "the head of the answer is too long")
            return
        lines = head.decode("latin-1").split("\r\n")
        version, _, rest = lines[0].partition(" ")
        status = rest[:3]
        if not version.startswith("HTTP/") or not status.isdigit():
            self._end(0, "not an HTTP answer")
            return
        if status.startswith("1"):
            self._raw = tail
            self._take_head()
            return
        fields = dict(line.lower().partition(":")[::2] for line in lines[1:] if line.lower().startswith("location:"))
        if status.startswith("3") and fields and self._follow(_location(lines)):
            return
        self._end(int(status), "")

    def _follow(self, location: str) -> bool:
        """Goes on where the answer says, as far as that is on this host; elsewhere the answer itself counts."""
        scheme, found, rest = location.partition("://")
        if not found:
            kind, port, path = self._kind, self._port, location
        else:
            kind = scheme.lower()
            authority, slash, path = rest.partition("/")
            path = slash + path
            host, colon, number = authority.rpartition(":")
            if not colon or authority.endswith("]"):
                host, number = authority, "443" if kind == "https" else "80"
            if kind not in ("http", "https") or host.lower() not in (*_HERE, self._address) or not number.isdigit():
                return False
            port = int(number)
        self._redirects += 1
        if self._redirects > MAX_REDIRECTS:
            self._end(0, "more than %d redirects" % MAX_REDIRECTS)
            return True
        if not path.startswith("/"):
            path = self._path.partition("?")[0].rpartition("/")[0] + "/" + path
        self._kind, self._port, self._path = kind, port, path.partition("#")[0]
        self.cancel()
        self.start()
        return True


def _location(lines: list[str]) -> str:
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip().lower() == "location":
            return value.strip()
    return ""
