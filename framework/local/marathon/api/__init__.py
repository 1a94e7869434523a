"""Marathon's v2 API over HTTP."""

from framework.local.marathon.api.app import make_app
from framework.local.marathon.api.settings import ApiSettings

__all__ = ["ApiSettings", "make_app"]
