"""Webhooks as the settings file would give them, with their secrets in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from framework.documents import check, parse_document
from framework.serverless_settings import WebhookSettings, read_secrets
from framework.settings import Settings
from tests.fakes.forge_messages import REPOSITORY, SECRET


def section(folder: Path, token: str | None = None, **changes: Any) -> dict[str, Any]:
    """One webhook, ``shop`` of GitHub for the tenant ``red`` by default; its secrets are written to ``folder``."""
    hook = {"name": "shop", "kind": "github", "tenant": "red", "repository": REPOSITORY, **changes}
    hook["secret_file"] = written(folder / f"{hook['name']}.secret", SECRET)
    if token is not None:
        hook["token_file"] = written(folder / f"{hook['name']}.token", token)
    return hook


def webhook(folder: Path, token: str | None = None, **changes: Any) -> WebhookSettings:
    document = parse_document(yaml.safe_dump({"webhooks": [section(folder, token, **changes)]}), "butlery.yaml")
    [hook] = check(document, Settings).webhooks
    assert not read_secrets(document, [hook])
    return hook


def written(file: Path, secret: str) -> str:
    file.write_text(secret + "\n")
    file.chmod(0o600)
    return str(file)
