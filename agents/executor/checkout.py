"""Checking a git repository out into the workspace, as the build's user and below the build's limits."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agents.spec import GitSource

# One commit is fetched where the server can name it. The whole history is fetched only where the answer says that this
# is why it failed: a server that cannot be reached is not asked twice.
SCRIPT = r"""
export LC_ALL=C
git init -q . && git config remote.origin.url "$GIT_SOURCE_URL" &&
    git config remote.origin.fetch '+refs/heads/*:refs/remotes/origin/*' || exit 1
ref=${GIT_SOURCE_REF:-HEAD}
if error=$(git fetch -q --depth 1 --no-tags --no-recurse-submodules origin "$ref" 2>&1); then
    found=FETCH_HEAD
else
    case $error in
    *"find remote ref"* | *"not our ref"* | *"unadvertised"* | *"not advertised"* | *"shallow"*) ;;
    *)
        printf '%s\n' "$error" >&2
        exit 1
        ;;
    esac
    git fetch -q --tags --no-recurse-submodules origin || exit 1
    if [ "$ref" = HEAD ]; then
        git remote set-head -a origin >/dev/null || exit 1
        ref=origin/HEAD
    fi
    found=$(git rev-parse -q --verify "refs/remotes/origin/$ref^{commit}" ||
        git rev-parse -q --verify "refs/tags/$ref^{commit}" || git rev-parse -q --verify "$ref^{commit}") || {
        printf '%s\n' "$error" >&2
        exit 1
    }
fi
git checkout -q --detach "$found" && echo "checked out $(git rev-parse HEAD)"
"""

_WITH_PASSWORD = re.compile(r"(?P<scheme>https?://)(?P<user>[^/@:]*):(?P<password>[^/]*)@(?P<rest>.*)", re.DOTALL)
_WITH_TOKEN = re.compile(r"(?P<scheme>https?://)(?P<user>[^/@:]+)@(?P<rest>.*)", re.DOTALL)
# Answers git from its own environment: credentials in the URL would show in the arguments of git's helper processes.
_HELPER = '!f() { printf "username=%s\\npassword=%s\\n" "$GIT_SOURCE_USER" "$GIT_SOURCE_PASSWORD"; }; f'


class BadSourceError(Exception):
    """The URL or ref is none that git should be given."""


def secrets_of(source: GitSource) -> list[str]:
    """Values in the URL that must not be shown, as written and as git prints them."""
    from urllib.parse import unquote

    match = _WITH_PASSWORD.match(source.url)
    if match:
        return [match["password"], unquote(match["password"])]
    match = _WITH_TOKEN.match(source.url)
    return [match["user"], unquote(match["user"])] if match else []


def shown(source: GitSource) -> str:
    """The URL and ref without credentials."""
    return _clean(source.url) + (" at " + source.ref if source.ref else "")


def environment(source: GitSource, home: str, gitconfig: str) -> dict[str, str]:
    """Environment of SCRIPT. ``gitconfig``: path of a file with CONFIG in it. Raises BadSourceError."""
    ref = source.ref or ""
    if not source.url or source.url.startswith("-") or "\0" in source.url:
        raise BadSourceError("not a git URL: %.200r" % _clean(source.url))
    if ref.startswith("-") or re.search(r"[\s\0:^~?*\[\\]|\.\.", ref):
        raise BadSourceError("not a git ref: %.200r" % ref)
    made = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": home,
        "GIT_SOURCE_URL": _clean(source.url),
        "GIT_SOURCE_REF": ref,
        "GIT_CONFIG_GLOBAL": gitconfig,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "/bin/false",
        "GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o ConnectTimeout=30",
        "GIT_HTTP_LOW_SPEED_LIMIT": "1000",  # bytes/s over
        "GIT_HTTP_LOW_SPEED_TIME": "60",  # seconds: below that a server counts as gone
        # The reflog wants a name, and the build's user has no passwd entry to take one from.
        "GIT_COMMITTER_NAME": "butlery",
        "GIT_COMMITTER_EMAIL": "butlery@localhost",
    }
    match = _WITH_PASSWORD.match(source.url) or _WITH_TOKEN.match(source.url)
    if match:
        from urllib.parse import unquote

        made["GIT_SOURCE_USER"] = unquote(match["user"])
        made["GIT_SOURCE_PASSWORD"] = unquote(match.groupdict().get("password", ""))
        made["GIT_CONFIG_COUNT"] = "1"
        made["GIT_CONFIG_KEY_0"] = "credential.helper"
        made["GIT_CONFIG_VALUE_0"] = _HELPER
    return made


# A repository on this host belongs to someone else than the build's user, which git refuses by default.
CONFIG = '[safe]\n\tdirectory = "*"\n'


def _clean(url: str) -> str:
    match = _WITH_PASSWORD.match(url) or _WITH_TOKEN.match(url)
    return match["scheme"] + match["rest"] if match else url
