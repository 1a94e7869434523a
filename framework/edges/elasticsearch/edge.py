"""Calls of Elasticsearch's HTTP API: bytes out and in, and what goes wrong in the words of who can mend it."""

from __future__ import annotations

import logging
import re
import ssl
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
from elastic_transport import ApiResponse, ConnectionTimeout, Serializer, TlsError, TransportError
from elasticsearch import ApiError, Elasticsearch, ElasticsearchWarning, UnsupportedProductError
from elasticsearch.exceptions import SerializationError

from framework.errors import ButleryError, Fault, InputError, UnavailableError
from framework.log import protect
from framework.telemetry_ports import BusyError, OperatorError
from framework.telemetry_settings import ElasticsearchSettings

Answer = TypeVar("Answer")
Other = TypeVar("Other")

JSON = "application/json"
NDJSON = "application/x-ndjson"
OLDEST = (7, 17)
NEWEST = 9
MAX_REASON_CHARS = 300
MAX_RETRY_AFTER_S = 300.0
CONNECTIONS = 8  # a node; the one that takes, and those that ask

# What it says of single calls is said by whoever calls, once and not every second.
logging.getLogger("elastic_transport").setLevel(logging.ERROR)
# A server without security says so with every answer.
warnings.filterwarnings("ignore", category=ElasticsearchWarning)


class RefusedError(ButleryError):
    """Elasticsearch said no to this very call, and will again."""

    def __init__(self, status: int, kind: str, reason: str) -> None:
        super().__init__(f"Elasticsearch refuses: {reason} ({status} {kind})")
        self.status = status
        self.kind = kind
        self.reason = reason


class Cause(msgspec.Struct, frozen=True):
    type: str = ""
    reason: str | None = None
    caused_by: Any = None
    failed_shards: list[dict[str, Any]] = []


class _Failure(msgspec.Struct, frozen=True):
    error: Cause | str


class _Status(msgspec.Struct, frozen=True):
    status: int


class _Both(msgspec.Struct, frozen=True):
    responses: tuple[msgspec.Raw, msgspec.Raw]


class _Version(msgspec.Struct, frozen=True):
    number: str
    distribution: str = ""


class _Root(msgspec.Struct, frozen=True):
    version: _Version
    tagline: str = ""


class _Bytes(Serializer):
    """Bodies are bytes already, and answers are read by who knows their shape."""

    mimetype = JSON

    def dumps(self, data: bytes) -> bytes:
        return data

    def loads(self, data: bytes) -> bytes:
        return data


class ElasticsearchEdge:
    """One Elasticsearch, by all the addresses of its nodes. Safe for several threads."""

    def __init__(self, settings: ElasticsearchSettings) -> None:
        """Calls nobody yet. Raises InputError where ``ca_file`` cannot be used."""
        self.timeout_s = settings.timeout_s
        self._who = _who(settings)
        self._where = ", ".join(settings.urls)
        given: dict[str, Any] = {}
        if settings.api_key is not None:
            given["api_key"] = settings.api_key.get_secret_value()
        elif settings.user is not None and settings.password is not None:
            given["basic_auth"] = (settings.user, settings.password.get_secret_value())
        for secret in (settings.api_key, settings.password):
            if secret is not None:
                protect(secret.get_secret_value())
        try:
            if any(url.startswith("https:") for url in settings.urls):
                given["ssl_context"] = ssl.create_default_context(cafile=settings.ca_file)
        except OSError as error:
            message = f"{settings.ca_file} holds no certificates that can be read: {error}"
            raise InputError([Fault("telemetry.elasticsearch.ca_file", message)]) from error
        plain = _Bytes()
        self._client = Elasticsearch(
            [_node(url) for url in settings.urls],
            serializers={JSON: plain, NDJSON: plain},
            request_timeout=settings.timeout_s,
            connections_per_node=CONNECTIONS,
            # Another node is tried where one cannot be reached; all else is for the caller, who waits before it.
            max_retries=len(settings.urls) - 1,
            retry_on_status=(),
            retry_on_timeout=False,
            max_dead_node_backoff=30.0,
            meta_header=False,
            **given,
        )

    def check(self) -> None:
        """Raises OperatorError where it is none that we can work with, else as ``call``."""
        answer = self.call("GET", "/", accept="*/*")  # an old one knows no other word for JSON that we say
        _check_version(answer)

    def call(
        self,
        method: str,
        path: str,
        body: bytes | Mapping[str, Any] | None = None,
        *,
        accept: str = JSON,
        content_type: str = JSON,
    ) -> bytes:
        """The body of a good answer. ``path`` is quoted, with its query.

        Raises UnavailableError (BusyError), OperatorError, and RefusedError for what this very call asks.
        """
        headers = {"Accept": accept}
        if body is not None:
            headers["Content-Type"] = content_type
        sent = msgspec.json.encode(body) if isinstance(body, Mapping) else body
        try:
            answer = self._client.perform_request(method, path, headers=headers, body=sent)
        except UnsupportedProductError as error:
            raise self._other_product(error) from error
        except ApiError as error:
            raise self._meant(error.meta.status, error.body, error.meta.headers) from error
        except ConnectionTimeout as error:
            raise UnavailableError(f"Elasticsearch at {self._where} gave no answer in {self.timeout_s:g} s") from error
        except TlsError as error:
            raise OperatorError(f"Elasticsearch at {self._where}: {_tls(str(error.message))}") from error
        except TransportError as error:
            reason = _short(_innermost(str(error.message)))
            raise UnavailableError(f"Elasticsearch at {self._where} cannot be reached: {reason}") from error
        except SerializationError as error:
            raise UnavailableError(f"{self._where} answers with something that is not JSON") from error
        return self._bytes(answer)

    def ask(self, wanted: type[Answer], method: str, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        """A good answer as what it has to be. Raises as ``call``."""
        return self._read(self.call(method, path, body), wanted)

    def ask_both(
        self, wanted: tuple[type[Answer], type[Other]], searched: Mapping[str, Any], bodies: Sequence[Mapping[str, Any]]
    ) -> tuple[Answer, Other]:
        """Two searches that are made at once, of what ``searched`` says. Raises as ``call``."""
        lines = [line for body in bodies for line in (msgspec.json.encode(searched), msgspec.json.encode(body))]
        answer = self.call("POST", "/_msearch", b"\n".join((*lines, b"")), content_type=NDJSON)
        first, second = self._read(answer, _Both).responses
        return self._one(first, wanted[0]), self._one(second, wanted[1])

    def _one(self, answer: msgspec.Raw, wanted: type[Answer]) -> Answer:
        """Of several in one."""
        status = self._read(answer, _Status).status
        if status >= 400:
            raise self._meant(status, bytes(answer), {})
        return self._read(answer, wanted)

    def _read(self, answer: bytes | msgspec.Raw, wanted: type[Answer]) -> Answer:
        try:
            return msgspec.json.decode(answer, type=wanted)
        except msgspec.MsgspecError as error:
            raise UnavailableError(f"Elasticsearch at {self._where} answers with something else: {error}") from error

    def close(self) -> None:
        self._client.close()

    def _bytes(self, answer: ApiResponse[Any]) -> bytes:
        if isinstance(answer.body, bytes):
            return answer.body
        raise UnavailableError(f"{self._where} answers with {answer.meta.mimetype}, not JSON: is it Elasticsearch?")

    def _other_product(self, error: UnsupportedProductError) -> OperatorError:
        if isinstance(error.body, bytes):
            _check_version(error.body)
        found = error.meta.mimetype or "nothing"
        return OperatorError(
            f"what answers at {self._where} does not say that it is Elasticsearch (it sends {found}): "
            "check telemetry.elasticsearch.urls, and whether a proxy takes away the header X-Elastic-Product"
        )

    def _meant(self, status: int, body: object, headers: Mapping[str, str]) -> ButleryError:
        """What an answer means that is none."""
        kind, reason = told(body)
        if status == 401:
            return OperatorError(f"Elasticsearch at {self._where} does not let us in: {self._who} (401)")
        if kind == "cluster_block_exception":
            return OperatorError(blocked(reason))
        if status == 403:
            return OperatorError(f"Elasticsearch at {self._where} forbids what is needed: {self._who}; {reason} (403)")
        if status == 429:
            return BusyError(f"Elasticsearch is busy: {reason} (429)", _retry_after_s(headers))
        if status >= 500 or status == 408:
            return UnavailableError(f"Elasticsearch at {self._where} cannot do it now: {reason} ({status})")
        return RefusedError(status, kind, reason)


def told(body: object) -> tuple[str, str]:
    """The type and the reason of what went wrong, as Elasticsearch tells it; of anything else its beginning."""
    if isinstance(body, bytes):
        try:
            error = msgspec.json.decode(body, type=_Failure).error
        except msgspec.MsgspecError:
            return "", _short(body[:2000].decode(errors="replace"))
        if isinstance(error, str):
            return "", _short(error)
        return error.type, reason_of(error)
    text = re.sub(r"<[^>]*>|\s+", " ", str(body or "")[:4000])  # a page of a proxy
    return "", _short(text) or "it gives no reason"


def reason_of(error: Cause) -> str:
    """With the deepest cause, which names the field or the shard."""
    words = [error.reason or error.type]
    inner: Any = error.caused_by or (error.failed_shards[0].get("reason") if error.failed_shards else None)
    for _ in range(5):
        if not isinstance(inner, dict):
            break
        word = inner.get("reason") or inner.get("type")
        if isinstance(word, str) and word not in words[-1]:
            words.append(word)
        inner = inner.get("caused_by")
    return _short(": ".join(words))


def blocked(reason: str) -> str:
    """What to do about a block that an index has."""
    if "flood" in reason or "read-only-allow-delete" in reason or "read_only_allow_delete" in reason:
        mend = "free its disks; Elasticsearch then lifts the block, or set index.blocks.read_only_allow_delete to null"
    else:
        mend = "somebody set it; lift it (index.blocks.*)"
    return f"Elasticsearch takes no writes: {reason.rstrip(';')}; {mend}"


def _who(settings: ElasticsearchSettings) -> str:
    if settings.api_key_file is not None:
        return f"the API key of {settings.api_key_file}"
    if settings.user is not None:
        return f"user {settings.user} and the password of telemetry.elasticsearch"
    return "telemetry.elasticsearch names no user and no API key"


def _node(url: str) -> str:
    """The client asks for a port."""
    parts = urlsplit(url)
    if parts.port is not None:
        return url
    return f"{parts.scheme}://{parts.netloc}:{443 if parts.scheme == 'https' else 80}{parts.path}"


def _check_version(body: bytes) -> None:
    try:
        root = msgspec.json.decode(body, type=_Root)
        numbers = tuple(int(part) for part in re.findall(r"\d+", root.version.number)[:2])
    except msgspec.MsgspecError:
        return
    if root.version.distribution or "OpenSearch" in root.tagline:
        product = root.version.distribution or "OpenSearch"
        raise OperatorError(
            f"{_short(product)} {_short(root.version.number)} answers, which is not Elasticsearch: 7.17 to 9 is needed"
        )
    if not OLDEST <= numbers < (NEWEST + 1,):
        raise OperatorError(f"Elasticsearch {_short(root.version.number)} is not supported: 7.17 to 9 is needed")


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    value = headers.get("retry-after") or ""
    return min(float(value), MAX_RETRY_AFTER_S) if re.fullmatch(r"\d{1,9}", value) else None


def _tls(words: str) -> str:
    if "unable to get" in words or "self-signed" in words or "self signed" in words:
        return "its certificate is signed by none of the CAs that are trusted; name its CA in ca_file"
    return f"TLS fails: {_short(words)}"


def _innermost(text: str) -> str:
    """What the system said, without the names of urllib3's classes; ``text`` where it said nothing."""
    return re.split(r"\[Errno -?\d+\] ", text)[-1].rstrip(")") if "[Errno " in text else text


def _short(text: str) -> str:
    text = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    return text if len(text) <= MAX_REASON_CHARS else f"{text[:MAX_REASON_CHARS]}..."
