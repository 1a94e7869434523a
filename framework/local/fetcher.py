"""mesos-fetcher: brings a task's URIs into its sandbox. Standard library only; Mesos' agent runs it as a program.

The agent puts a JSON object into MESOS_FETCHER_INFO (FetcherInfo of mesos/fetcher/fetcher.proto) before it starts the
task. Paths, ``file://``, ``http://`` and ``https://`` are understood. Exit code 1 and a line on stderr per fault, which
Mesos shows in the task's failure, tell it not to start the task.
"""

import base64
import gzip
import http.client
import json
import lzma
import os
import pwd
import shutil
import sys
import tarfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any

STALL_TIMEOUT_S = 60.0  # Mesos' own default for fetcher_stall_timeout
MAX_BYTES = 16 * 1024**3  # of one file fetched, and of all that one archive unpacks to
BLOCK_BYTES = 1024 * 1024
TAR_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")


class FetchError(Exception):
    """A URI that cannot be fetched or unpacked; named without its user and query, which may be secret."""


def main() -> int:
    try:
        info = json.loads(os.environ["MESOS_FETCHER_INFO"])
        sandbox = Path(info["sandbox_directory"])
        items = list(info.get("items", []))
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        return _failed(f"MESOS_FETCHER_INFO is not what Mesos gives: {type(error).__name__}: {error}")
    stall_s = float(info.get("stall_timeout", {}).get("nanoseconds", STALL_TIMEOUT_S * 1e9)) / 1e9
    cache = info.get("cache_directory")
    faults = 0
    written: list[Path] = []
    for item in items:
        try:
            written += fetch(item, sandbox, Path(cache) if cache else None, stall_s)
        except FetchError as error:
            faults += _failed(str(error))
        except (OSError, tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError) as error:
            faults += _failed(f"{shown(item['uri']['value'])}: {error}")
        except RuntimeError as error:  # what zipfile says of a password or a way of packing that it does not know
            faults += _failed(f"{shown(item['uri']['value'])}: {error}")
        except (ValueError, http.client.HTTPException) as error:  # whose texts may hold the query
            faults += _failed(f"{shown(item['uri']['value'])}: {type(error).__name__}")
    if info.get("user") and os.geteuid() == 0:
        _give(written, sandbox, info["user"])
    return 1 if faults else 0


def fetch(item: dict[str, Any], sandbox: Path, cache: Path | None, stall_s: float) -> list[Path]:
    """Fetches one item; returns what it wrote. Raises FetchError, OSError, or the archive libraries' errors."""
    uri = item["uri"]
    value = uri["value"]
    target = sandbox / _file_name(uri)
    action = item.get("action", "BYPASS_CACHE")
    if action == "BYPASS_CACHE":
        source = None
    else:
        if cache is None or not item.get("cache_filename"):
            raise FetchError(f"{shown(value)}: {action} without a cache directory and file name")
        source = cache / PurePosixPath(item["cache_filename"]).name
        if action == "DOWNLOAD_AND_CACHE":
            cache.mkdir(parents=True, exist_ok=True)
            download(value, source, stall_s)
    if uri.get("extract", True) and is_archive(_name_in(value)):
        if source is None:
            source = target
            download(value, source, stall_s)
        return [*extract(source, sandbox, _name_in(value)), *([target] if source == target else [])]
    target.parent.mkdir(parents=True, exist_ok=True)
    if source is None:
        download(value, target, stall_s)
    else:
        shutil.copyfile(source, target)
    if uri.get("executable"):
        target.chmod(0o755)
    return [target]


def shown(value: str) -> str:
    """A URI as it may be shown: without user, password, query and fragment."""
    parts = urllib.parse.urlsplit(value)
    if not parts.scheme:
        return value
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def is_archive(name: str) -> bool:
    return name.endswith((*TAR_ENDINGS, ".zip", ".gz"))


def _name_in(value: str) -> str:
    return PurePosixPath(urllib.parse.unquote(urllib.parse.urlsplit(value).path)).name


def _file_name(uri: dict[str, Any]) -> str:
    name = uri.get("output_file") or _name_in(uri["value"])
    path = PurePosixPath(name)
    if not name or "\0" in name or path.is_absolute() or ".." in path.parts:
        raise FetchError(f"{shown(uri['value'])}: {name!r} is no file name inside the sandbox")
    return str(path)


def download(value: str, target: Path, stall_s: float) -> None:
    """Copies what ``value`` names to ``target``, at most MAX_BYTES, giving up after ``stall_s`` without a byte."""
    scheme = urllib.parse.urlsplit(value).scheme
    partial = target.with_name(f".{target.name}.partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    try:
        if scheme in ("", "file"):
            path = urllib.parse.unquote(urllib.parse.urlsplit(value).path) if scheme else value
            with open(path, "rb") as source:
                _copy(source, partial, value)
        elif scheme in ("http", "https"):
            try:
                with urllib.request.urlopen(_request(value), timeout=stall_s) as source:  # noqa: S310
                    _copy(source, partial, value, source.length)
            except urllib.error.HTTPError as error:
                raise FetchError(f"{shown(value)}: HTTP {error.code} {error.reason}") from error
            except urllib.error.URLError as error:
                raise FetchError(f"{shown(value)}: {error.reason}") from error
        else:
            raise FetchError(f"{shown(value)}: only paths, file, http and https can be fetched, not {scheme}")
        partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)


def _request(value: str) -> urllib.request.Request:
    parts = urllib.parse.urlsplit(value)
    netloc = parts.netloc.rpartition("@")[2]
    url = urllib.parse.urlunsplit((parts.scheme, netloc, parts.path, parts.query, ""))
    request = urllib.request.Request(url, headers={"User-Agent": "butlery-fetcher"})  # noqa: S310 - http(s) only
    if parts.username is not None:
        login = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        # Not to be sent on to where the server may redirect.
        request.add_unredirected_header("Authorization", "Basic " + base64.b64encode(login.encode()).decode())
    return request


def _copy(source: Any, target: Path, value: str, expected: int | None = None) -> None:
    copied = 0
    with target.open("wb") as out:
        while block := source.read(BLOCK_BYTES):
            copied += len(block)
            if copied > MAX_BYTES:
                raise FetchError(f"{shown(value)}: over {MAX_BYTES} bytes")
            out.write(block)
    if expected is not None and copied != expected:
        raise FetchError(f"{shown(value)}: ended after {copied} of {expected} bytes")


def extract(archive: Path, sandbox: Path, name: str) -> list[Path]:
    """Unpacks into ``sandbox``. Raises FetchError for a member that would leave it, or for more than MAX_BYTES."""
    if name.endswith(".zip"):
        with zipfile.ZipFile(archive) as packed:
            members = packed.infolist()
            for member in members:
                _check_member(member.filename, name)
            _check_size(sum(member.file_size for member in members), name)
            for member in members:
                path = Path(packed.extract(member, sandbox))
                mode = member.external_attr >> 16 & 0o777
                if mode and not member.is_dir():
                    path.chmod(mode)
            return [sandbox / member.filename for member in members]
    if not name.endswith(TAR_ENDINGS):
        target = sandbox / name.removesuffix(".gz")
        with gzip.open(archive) as one:
            _copy(one, target, name)
        return [target]
    with tarfile.open(archive) as packed_tar:
        entries = packed_tar.getmembers()
        _check_size(sum(entry.size for entry in entries), name)
        if hasattr(tarfile, "data_filter"):
            packed_tar.extraction_filter = tarfile.data_filter
        else:  # before Python 3.11.4, Debian 12's own among them
            for entry in entries:
                _check_entry(entry, name)
        try:
            packed_tar.extractall(sandbox)  # noqa: S202 - each entry is checked, here or by data_filter
        except tarfile.TarError as error:
            raise FetchError(f"{name}: {error}") from error
        return [sandbox / entry.name for entry in entries]


def _check_member(member: str, name: str) -> None:
    path = PurePosixPath(member)
    if path.is_absolute() or ".." in path.parts:
        raise FetchError(f"{name}: {member!r} would be written outside the sandbox")


def _check_entry(entry: tarfile.TarInfo, name: str) -> None:
    """Stricter than ``data_filter``: no link may climb, as following it through others could lead anywhere."""
    _check_member(entry.name, name)
    if entry.issym() or entry.islnk():
        _check_member(entry.linkname, name)
    elif not (entry.isfile() or entry.isdir()):
        raise FetchError(f"{name}: {entry.name!r} is neither a file nor a directory nor a link")


def _check_size(total: int, name: str) -> None:
    if total > MAX_BYTES:
        raise FetchError(f"{name}: unpacks to {total} bytes, more than {MAX_BYTES}")


def _give(paths: list[Path], sandbox: Path, user: str) -> None:
    """Hands what was written, and the directories made for it, to the task's user."""
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        return  # Mesos itself refuses a task whose user this machine does not know
    given: set[Path] = set()
    for path in paths:
        inside = [path, *path.parents]
        for one in inside[: inside.index(sandbox)] if sandbox in inside else []:
            if one not in given and (one.exists() or one.is_symlink()):
                given.add(one)
                os.chown(one, entry.pw_uid, entry.pw_gid, follow_symlinks=False)


def _failed(message: str) -> int:
    sys.stderr.write(f"mesos-fetcher: {' '.join(message.splitlines())}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
