"""Settings of builds without a master: how a Jenkinsfile is run, and webhooks of forges."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PrivateAttr, SecretStr

from framework.documents import Document, DocumentModel
from framework.errors import Fault
from framework.secret_files import read_private, read_secret
from framework.setting_types import Image, LocalPath, Matching, Name, Text
from framework.urls import forge_url

SECRET_MIN_CHARS = 16
"""Of a webhook's secret: 96 bits where it is drawn from base64, which nobody guesses."""
BUILD_SECRET_MAX_BYTES = 64 << 10
"""Of one secret of a build, which is one variable of its environment; Linux takes twice that."""
RUNNER_COMMAND = (
    'set --; while IFS= read -r parameter; do set -- "$@" --arg "$parameter"; done < "$JENKINSFILE_PARAMETERS"; '
    "exec /app/bin/jenkinsfile-runner --jenkins-war /app/jenkins --plugins /usr/share/jenkins/ref/plugins "
    '--file "$JENKINSFILE" --runWorkspace "$PWD" "$@"'
)
"""What the image's own launcher does, but for the paths, which that has fixed."""

Kind = Literal["github", "gitlab", "bitbucket"]
API_URLS: dict[Kind, str] = {
    "github": "https://api.github.com",
    "gitlab": "https://gitlab.com/api/v4",
    "bitbucket": "https://api.bitbucket.org/2.0",
}
GIT_URLS: dict[Kind, str] = {
    "github": "https://github.com/{repository}.git",
    "gitlab": "https://gitlab.com/{repository}.git",
    "bitbucket": "https://bitbucket.org/{repository}.git",
}


def _git_url(value: str) -> str:
    if value.count("{repository}") != 1 or "{" in value.replace("{repository}", ""):
        raise ValueError("must have {repository} in it once, such as https://git.example.org/{repository}.git")
    return value


def relative_path(value: str) -> str:
    """A file below some folder. Raises ValueError."""
    if not value or len(value) > 1000 or re.search(r"[\x00-\x1f\x7f\\]", value):
        raise ValueError("must have 1 to 1000 characters of one line, without `\\`")
    if value.startswith(("/", "-")) or {"", ".", ".."} & set(value.split("/")):
        raise ValueError("must be a path below the repository's root, without `.`, `..` or `//`")
    return value


RelativePath = Annotated[str, AfterValidator(relative_path)]
Command = Annotated[str, Matching(r"[^\x00]{0,65536}[^\s\x00][^\x00]{0,65536}", "a command for /bin/sh")]
SecretName = Annotated[
    str,
    Matching(r"(?!MESOS_|BUTLERY_)[A-Za-z_][A-Za-z0-9_]{0,254}", "the name of a variable, such as DEPLOY_KEY"),
]
Branch = Annotated[str, Matching(r"[^\x00-\x20\x7f]{1,255}", "a branch, or a pattern with * for any characters")]
Repository = Annotated[
    str,
    Matching(
        r"[A-Za-z0-9_.*-]+(/[A-Za-z0-9_.*-]+)+", "OWNER/NAME as the forge has it, with * for any characters but `/`"
    ),
]


class ServerlessSettings(DocumentModel):
    """Builds that are given by a Jenkinsfile, and run without a standing master."""

    image: Image | None = Field(
        default="jenkins/jenkinsfile-runner",
        description="Docker image in which a Jenkinsfile is run where neither the job nor its template names one; "
        "``null``: on the host's own file system.",
    )
    command: Command = Field(
        default=RUNNER_COMMAND,
        description="Runs the Jenkinsfile at ``$JENKINSFILE``, with the parameters in the file "
        "``$JENKINSFILE_PARAMETERS``, one ``NAME=VALUE`` a line; both paths begin at the workspace, where it is "
        "started. Its exit code is the build's.",
    )
    label: Text | None = Field(
        default=None, description="Label of the template of jobs with a Jenkinsfile that name none themselves."
    )


class WebhookSettings(DocumentModel):
    """A webhook of a forge: its pushes are built."""

    name: Name = Field(description="Its messages come to ``/v1/webhooks/NAME``; commits have it in their status.")
    kind: Kind = Field(description="Whose messages they are.")
    tenant: Name = Field(description="For whom the builds are.")
    repository: Repository = Field(
        description="Repositories that are built, ``OWNER/NAME``; ``*`` stands for any characters but ``/``. Of others "
        "nothing is, whatever a message says."
    )
    secret_file: LocalPath = Field(
        description=f"File with the secret that the forge signs (GitLab: sends) its messages with, at least "
        f"{SECRET_MIN_CHARS} characters; readable by its owner alone."
    )
    branches: list[Branch] = Field(
        default=["*"],
        min_length=1,
        max_length=100,
        description="Branches that are built when pushed to; of pull requests, those that they are for.",
    )
    jenkinsfile: RelativePath = Field(default="Jenkinsfile", description="Its path in the repository.")
    label: Text | None = Field(default=None, description="Label of their template; by default ``serverless.label``.")
    git_url: Annotated[str, AfterValidator(_git_url)] | None = Field(
        default=None,
        description="Where the repository is cloned from, ``{repository}`` in it; by default the forge's public "
        "address. Never from an address that a message names.",
    )
    api_url: Annotated[str, AfterValidator(forge_url)] | None = Field(
        default=None,
        description="The forge's API, such as ``https://git.example.org/api/v4``; by default its public one.",
    )
    token_file: LocalPath | None = Field(
        default=None,
        description="File with a token of the API, readable by its owner alone, with which the commit's status is set "
        "and the repository's ``.butlery.yaml`` is read. Without it the forge is asked for nothing.",
    )
    secret_files: dict[SecretName, LocalPath] = Field(
        default_factory=dict,
        max_length=100,
        description="Secrets of the builds, each in a file of its owner's alone. Builds of forks have none.",
    )
    forks: bool = Field(
        default=False,
        description="Whether pull requests of forks are built: anybody's code, on your hosts. They get no secrets.",
    )
    per_minute: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=60, description="Messages taken in a minute, on average and at once; more are refused with 429."
    )

    _secret: SecretStr = PrivateAttr(SecretStr(""))
    _token: SecretStr | None = PrivateAttr(None)
    _secrets: dict[str, SecretStr] = PrivateAttr(default_factory=dict)

    @property
    def secret(self) -> SecretStr:
        """That messages are signed with; never a key of the file."""
        return self._secret

    @property
    def token(self) -> SecretStr | None:
        return self._token

    @property
    def secrets(self) -> dict[str, SecretStr]:
        """Of its builds, by the names of their variables."""
        return self._secrets


def different_names(hooks: list[WebhookSettings]) -> list[WebhookSettings]:
    """Raises ValueError where two have one name."""
    names = [hook.name for hook in hooks]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"names {', '.join(twice)} more than once")
    return hooks


Webhooks = Annotated[list[WebhookSettings], Field(max_length=10_000), AfterValidator(different_names)]


def read_secrets(document: Document, hooks: Sequence[WebhookSettings]) -> list[Fault]:
    """Gives each webhook what is in its files; what is wrong with them."""
    faults: list[Fault] = []

    def taken(read: Callable[[Path], str], path: Path, *keys: str | int) -> SecretStr:
        try:
            return SecretStr(read(path))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            faults.append(Fault(document.where(("webhooks", *keys)), f"the secret cannot be read: {reason}"))
            return SecretStr("")

    for index, hook in enumerate(hooks):
        hook._secret = taken(_signing_secret, hook.secret_file, index, "secret_file")
        if hook.token_file is not None:
            hook._token = taken(_token, hook.token_file, index, "token_file")
        for name, path in sorted(hook.secret_files.items()):
            hook._secrets[name] = taken(_build_secret, path, index, "secret_files", name)
    return faults


def _signing_secret(path: Path) -> str:
    secret = _token(path)
    if len(secret) < SECRET_MIN_CHARS:
        raise ValueError(f"must have {SECRET_MIN_CHARS} or more characters; `openssl rand -hex 24` makes one")
    return secret


def _token(path: Path) -> str:
    secret = read_secret(path)
    if not re.fullmatch(r"[!-~]+", secret):
        raise ValueError("must be of visible ASCII characters, with no spaces")
    return secret


def _build_secret(path: Path) -> str:
    """Of several lines too, as keys are."""
    secret = read_private(path, BUILD_SECRET_MAX_BYTES).decode(errors="strict").rstrip("\n")
    if not secret or "\0" in secret:
        raise ValueError("must hold text, without NUL")
    return secret
