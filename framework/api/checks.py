"""Rules for what a job may hold: each takes the text and returns it, or raises ValueError with what would be right.

The messages never repeat the text: a URL may hold a password, a name may hold anything.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from framework.serverless_settings import relative_path

COMMAND_MAX_BYTES = 256 << 10
"""Of a command or script. Larger ones are programs, and belong into a repository."""
VALUE_MAX_BYTES = 128 << 10
"""Of one environment entry, ``NAME=VALUE`` and its NUL: MAX_ARG_STRLEN of Linux, beyond which execve(2) fails."""
URL_MAX_CHARS = 2048
REF_MAX_CHARS = 255

NAME_PATTERN = r"^[A-Za-z0-9](\.?[A-Za-z0-9_-])*\.?$"
NAME_MAX_CHARS = 100
ENV_NAME_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"
ENV_NAME_MAX_CHARS = 255
IMAGE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,254}$"

RESERVED_ENV_PREFIXES = ("MESOS_", "BUTLERY_")
GIT_SCHEMES = ("https", "http", "ssh", "git", "file")

_NAME = re.compile(NAME_PATTERN.rstrip("$") + r"\Z")
_ENV_NAME = re.compile(ENV_NAME_PATTERN.rstrip("$") + r"\Z")
_IMAGE = re.compile(IMAGE_PATTERN.rstrip("$") + r"\Z")
_CONTROL = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029]")
_NOT_IN_REF = re.compile(r"\.\.|@\{|[\x00-\x20\x7f~^:?*\[\\]")
_SCP_LIKE = re.compile(r"(?:(?P<user>[^@/:]+)@)?(?P<host>[^@/:]+):(?P<path>[^:].*)\Z")
_HOST = re.compile(r"(?:[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9.])?|\[[0-9A-Fa-f:.]+\])\Z")
_CREDENTIALS = "must hold no user name or password; give them to the build as secrets and let git ask for them there"


def name(text: str) -> str:
    """Of a tenant, job or label."""
    if len(text) > NAME_MAX_CHARS:
        raise ValueError(f"must have at most {NAME_MAX_CHARS} characters")
    if not _NAME.match(text):
        raise ValueError("must begin with a letter or digit and hold only A-Z a-z 0-9 . _ - and no `..`")
    return text


def container_name(text: str) -> str:
    if text.endswith(".log"):
        raise ValueError("must not end with `.log`, which is the end of its log's name")
    return name(text)


def env_name(text: str) -> str:
    if len(text) > ENV_NAME_MAX_CHARS:
        raise ValueError(f"the name must have at most {ENV_NAME_MAX_CHARS} characters")
    if not _ENV_NAME.match(text):
        raise ValueError("the name must begin with a letter or _ and hold only A-Z a-z 0-9 _")
    if text.startswith(RESERVED_ENV_PREFIXES):
        raise ValueError(f"names that begin with {' or '.join(RESERVED_ENV_PREFIXES)} are set by the cluster itself")
    return text


def env_value(text: str) -> str:
    _without_nul(text)
    if len(text.encode()) > VALUE_MAX_BYTES - ENV_NAME_MAX_CHARS - 2:
        raise ValueError(f"must have less than {VALUE_MAX_BYTES >> 10} KiB, the most Linux takes; put it into a file")
    return text


def secret_value(text: str) -> str:
    if not text:
        raise ValueError("must not be empty: an empty text cannot be masked in the build's output")
    return env_value(text)


def command(text: str) -> str:
    """One line for the shell."""
    if "\n" in text or "\r" in text:
        raise ValueError("must be one line; give several as `script`")
    return script(text)


def script(text: str) -> str:
    """Lines for the shell, or for the interpreter that a first line with ``#!`` names."""
    _without_nul(text)
    if not text.strip():
        raise ValueError("must not be empty")
    if text.partition("\n")[0].endswith("\r"):  # the kernel would look for an interpreter of that name
        raise ValueError("must end its lines with LF, not with CR LF as Windows does; save it so, or use dos2unix")
    if len(text.encode()) > COMMAND_MAX_BYTES:
        raise ValueError(
            f"must have at most {COMMAND_MAX_BYTES >> 10} KiB; put the script into the repository and call it there"
        )
    return text


def jenkinsfile(text: str) -> str:
    """As long as a script may be. Java takes 64 KiB of code in one method, which a Jenkinsfile's body is, so no longer

    one could run.
    """
    _without_nul(text)
    if not text.strip():
        raise ValueError("must not be empty")
    if len(text.encode()) > COMMAND_MAX_BYTES:
        raise ValueError(
            f"must have at most {COMMAND_MAX_BYTES >> 10} KiB; put the bulk of it into the repository, as scripts or "
            "as a shared library, and call it there"
        )
    return text


def repository_path(text: str) -> str:
    """Of a file below a repository's root."""
    return relative_path(text)


def parameter_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]{0,254}", text):
        raise ValueError("the name must begin with a letter or _ and hold only A-Z a-z 0-9 _ . -")
    return text


def parameter_value(text: str) -> str:
    if re.search(r"[\x00\r\n]", text) or len(text.encode()) > VALUE_MAX_BYTES >> 1:
        raise ValueError(f"must be one line of at most {VALUE_MAX_BYTES >> 11} KiB")
    return text


def image(text: str) -> str:
    if not _IMAGE.match(text):
        raise ValueError("must be the name of a Docker image, such as `debian:12` or `registry.example/team/image:1.2`")
    return text


def attribute_value(text: str) -> str:
    if not text or len(text) > 255 or not text.isprintable():
        raise ValueError("must have 1 to 255 printable characters")
    return text


def artifact(text: str) -> str:
    """A glob below the workspace."""
    _without_nul(text)
    if not text or len(text) > 1000:
        raise ValueError("must have 1 to 1000 characters")
    if text.startswith("/"):
        raise ValueError("must be relative to the workspace, so it must not begin with `/`")
    if ".." in text.split("/"):
        raise ValueError("must stay below the workspace, so it must hold no `..`")
    return text


def git_ref(text: str) -> str:
    """A branch, tag or commit, as ``git check-ref-format`` has it."""
    if not text or len(text) > REF_MAX_CHARS:
        raise ValueError(f"must have 1 to {REF_MAX_CHARS} characters")
    if text.startswith("-"):
        raise ValueError("must not begin with `-`: git would take it for an option")
    bad_part = any(not part or part.startswith(".") or part.endswith(".lock") for part in text.split("/"))
    if bad_part or text.endswith(".") or _NOT_IN_REF.search(text):
        raise ValueError("must be the name of a branch or tag, or a commit's hash")
    return text


def git_url(text: str, allow_file_urls: bool) -> str:
    """Where to check out from: a URL, or ``[USER@]HOST:PATH`` as ssh takes it."""
    if not text or len(text) > URL_MAX_CHARS:
        raise ValueError(f"must have 1 to {URL_MAX_CHARS} characters")
    if text.startswith("-"):
        raise ValueError("must not begin with `-`: git would take it for an option")
    if _CONTROL.search(text):
        raise ValueError("must hold no spaces or control characters")
    if "://" in text:
        return _check_url(text, allow_file_urls)
    found = _SCP_LIKE.match(text)
    if not found:
        raise ValueError(f"must be a URL ({', '.join(_schemes(allow_file_urls))}) or USER@HOST:PATH")
    if "@" in found["path"].split("/")[0] and found["user"] is None:
        raise ValueError(_CREDENTIALS)
    _check_host(found["host"])
    _check_path(found["path"])
    return text


def _check_url(text: str, allow_file_urls: bool) -> str:
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port  # reading the port checks it
    except ValueError:
        raise ValueError("is no URL that can be read") from None
    if parts.scheme not in _schemes(allow_file_urls):
        if parts.scheme == "file":
            raise ValueError("must not be a file: URL; the operator can allow these with api.allow_file_urls")
        raise ValueError(f"must begin with one of {', '.join(f'{scheme}://' for scheme in _schemes(allow_file_urls))}")
    # ssh logs in as a user with a key of the host's own, so its user name is no secret; elsewhere one may be a token.
    if parts.password is not None or (parts.username is not None and parts.scheme != "ssh"):
        raise ValueError(_CREDENTIALS)
    if parts.username is not None and not _NAME.match(parts.username):
        raise ValueError("has a user name that cannot be one")
    if parts.query or parts.fragment:
        raise ValueError("must have no `?` or `#` in it")
    if parts.scheme == "file":
        if host not in ("", "localhost"):
            raise ValueError("must be file:///PATH, with no machine's name in it")
    else:
        _check_host(host)
    _check_path(parts.path.removeprefix("/"))
    return text


def _schemes(allow_file_urls: bool) -> tuple[str, ...]:
    return GIT_SCHEMES if allow_file_urls else GIT_SCHEMES[:-1]


def _check_host(host: str) -> None:
    """ssh would take a name with a leading dash for an option (CVE-2017-1000117)."""
    if not _HOST.match(host if ":" not in host or host.startswith("[") else f"[{host}]"):
        raise ValueError("must name a host with letters, digits, dots and dashes, not beginning with a dash")


def _check_path(path: str) -> None:
    if not path or path.startswith("-"):
        raise ValueError("must name a repository on the host, not beginning with a dash")


def _without_nul(text: str) -> None:
    if "\0" in text:
        raise ValueError("must hold no NUL character")
