"""What is not of apps: /v2/info, /v2/leader, /v2/plugins, /v2/pods, /v2/schemas, /ping and /logging."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import framework
from framework.local.marathon.api.exchange import TEXT, Answer, Call, absolute, encoded, message
from framework.local.marathon.api.problems import RefusedError, bad_request
from framework.local.marathon.definition.documents import json_schema
from framework.local.marathon.definition.faults import Detail, InvalidJsonError, InvalidObjectError

MARATHON_VERSION = "1.9.136"
"""The release whose API this is; clients look at it to tell what a server can do."""
NO_PODS = "This server has no pods; use apps."

_LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}
_NAMES = {logging.DEBUG: "DEBUG", logging.INFO: "INFO", logging.WARNING: "WARN", logging.ERROR: "ERROR"}
_ROOT = "ROOT"
_MAX_DURATION_S = 7 * 24 * 3600

_log = logging.getLogger(__name__)


async def ping(call: Call) -> Answer:
    accept = call.request.headers.get("accept", "")
    if "application/json" in accept and "text/plain" not in accept:
        return encoded("pong")
    return Answer(b"pong", media_type=TEXT)


async def info(call: Call) -> Answer:
    settings, view = call.settings, call.view
    config: dict[str, object] = {
        "checkpoint": True,
        "executor": "",
        "features": [],
        "ha": False,
        "hostname": settings.host,
        "mesos_role": settings.defaults.role,
        "task_lost_expunge_initial_delay": 300000,
        "task_lost_expunge_interval": 30000,
        "webui_url": f"http://{_leader(call)}",
    }
    if settings.allow_origin:
        config["access_control_allow_origin"] = settings.allow_origin
    if settings.defaults.network is not None:
        config["default_network_name"] = settings.defaults.network
    if view.mesos_url is not None:
        config |= {"master": view.mesos_url, "mesos_leader_ui_url": view.mesos_url}
    told: dict[str, object] = {
        "name": "marathon",
        "version": MARATHON_VERSION,
        "buildref": f"butlery-{framework.__version__}",
        "elected": True,
        "leader": _leader(call),
        "marathon_config": config | settings.marathon_config,
        # There is no ZooKeeper: the times are those of the real one's defaults, for clients that want numbers.
        "zookeeper_config": {
            "zk": "",
            "zk_connection_timeout": 10000,
            "zk_max_versions": 50,
            "zk_session_timeout": 10000,
            "zk_timeout": 10000,
        },
        "http_config": {"http_port": settings.port, "https_port": 0},
    }
    if view.framework_id is not None:
        told["frameworkId"] = view.framework_id
    return encoded(told)


async def leader(call: Call) -> Answer:
    return encoded({"leader": _leader(call)})


async def abdicate(call: Call) -> Answer:
    for name in ("backup", "restore"):
        if name in call.request.query_params:
            raise bad_request(f"{name} is not supported: the state is one SQLite file, which can be copied")
    answer = message("Leadership abdicated")
    answer.after = call.control.abdicate
    return answer


async def plugins(_call: Call) -> Answer:
    return encoded({"plugins": []})


async def pods(_call: Call) -> Answer:
    return encoded([])


async def no_pods(_call: Call) -> Answer:
    raise RefusedError(403, NO_PODS)


async def no_pod(call: Call) -> Answer:
    raise RefusedError(404, f"Pod '{absolute(call.path['id'])}' does not exist")


async def schema(call: Call) -> Answer:
    told = json_schema(call.path["name"])
    if told is None:
        raise RefusedError(404, f"Schema '{call.path['name']}' does not exist")
    return encoded(told)


async def loggers(_call: Call) -> Answer:
    shown = {_ROOT: _level_name(logging.getLogger().level)}
    for name, one in sorted(logging.root.manager.loggerDict.items()):
        if isinstance(one, logging.Logger):
            inherited = "" if one.level else " (inherited)"
            shown[name] = f"{_level_name(one.getEffectiveLevel())}{inherited}"
    return encoded(shown)


async def set_logger(call: Call) -> Answer:
    """Only of loggers that there are, so that nobody fills the memory with names."""
    raw = await call.document()
    level, name, duration_s = _logger_change(raw)
    if name != _ROOT and name not in logging.root.manager.loggerDict:
        raise InvalidObjectError([Detail("/logger", ["is not the name of a logger"])])
    logger = logging.getLogger(None if name == _ROOT else name)
    before = logger.level
    logger.setLevel(_LEVELS[level])
    _log.info("log level of %s set to %s", name, level)
    if duration_s is not None:
        asyncio.get_running_loop().call_later(duration_s, logger.setLevel, before)
    return encoded(raw)


def _logger_change(raw: object) -> tuple[str, str, int | None]:
    """Level, name and seconds. Raises InvalidJsonError, InvalidObjectError."""
    given: dict[str, Any] = raw if isinstance(raw, dict) else {}
    kinds = []
    for field in ("level", "logger"):
        if field not in given:
            kinds.append(Detail(f"/{field}", ["error.path.missing"]))
        elif not isinstance(given[field], str):
            kinds.append(Detail(f"/{field}", ["error.expected.jsstring"]))
    duration_s = given.get("durationSeconds")
    if duration_s is not None and (not isinstance(duration_s, int) or isinstance(duration_s, bool)):
        kinds.append(Detail("/durationSeconds", ["error.expected.jsnumber"]))
    if kinds:
        raise InvalidJsonError("Invalid JSON", kinds)
    rules = []
    if given["level"] not in _LEVELS:
        rules.append(Detail("/level", [f"must be one of {', '.join(_LEVELS)}"]))
    if not given["logger"]:
        rules.append(Detail("/logger", ["must not be empty"]))
    if duration_s is not None and not 0 <= duration_s <= _MAX_DURATION_S:
        rules.append(Detail("/durationSeconds", [f"must be between 0 and {_MAX_DURATION_S}"]))
    if rules:
        raise InvalidObjectError(rules)
    return given["level"], given["logger"], duration_s


def _level_name(level: int) -> str:
    return _NAMES.get(level, logging.getLevelName(level))


def _leader(call: Call) -> str:
    return f"{call.settings.host}:{call.settings.port}"
