"""Webhooks of forges, as the settings have them: who a message is from, and whether more of it are taken now."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from framework.api.problems import ProblemError
from framework.forge_ports import Forge
from framework.log import get_logger
from framework.serverless_settings import WebhookSettings

log = get_logger(__name__)

WARN_EVERY_S = 60.0


class Hook(NamedTuple):
    """One webhook of the settings, and its forge."""

    settings: WebhookSettings
    forge: Forge


class Hooks:
    """All webhooks, by name. ``now`` in seconds, of any clock that only runs on."""

    def __init__(
        self,
        settings: Sequence[WebhookSettings] = (),
        forges: Mapping[str, Forge] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hooks = {one.name: Hook(one, (forges or {})[one.name]) for one in settings}
        self._now = now
        self._warned: dict[str, float] = {}  # by hook: when its log last had a wrong signature
        self._left: dict[str, tuple[float, float]] = {}  # by hook: messages it may send yet, as of when

    def sender(self, name: str, headers: Mapping[str, str], body: bytes) -> Hook:
        """The webhook that the message is signed by. Raises ProblemError (401), of an unknown webhook as of a wrong

        signature, and as late.
        """
        hook = self._hooks.get(name)
        judge = hook or next(iter(self._hooks.values()), None)
        genuine = judge is not None and judge.forge.genuine(headers, body)
        if hook is not None and not genuine:
            self._warn(name)
        if hook is None or not genuine:
            raise ProblemError(
                401, "unauthenticated", "There is no such webhook, or its secret signed another message."
            )
        return hook

    def _warn(self, name: str) -> None:
        """Of a secret that differs between here and the forge the operator should know; of a flood once is enough."""
        now = self._now()
        if now - self._warned.get(name, -math.inf) >= WARN_EVERY_S:
            self._warned[name] = now
            log.warning("a message was not signed with the webhook's secret", webhook=name)

    def count(self, hook: Hook) -> None:
        """Counts a message. Raises ProblemError (429) for more than the webhook's share."""
        now, most = self._now(), hook.settings.per_minute
        left, as_of = self._left.get(hook.settings.name, (float(most), now))
        left = min(float(most), left + (now - as_of) * most / 60)
        if left < 1:
            wait_s = (1 - left) * 60 / most
            detail = f"More than {most} messages a minute (per_minute of this webhook); send it again later."
            raise ProblemError(429, "rate", detail, headers={"Retry-After": str(int(wait_s) + 1)})
        self._left[hook.settings.name] = (left - 1, now)
