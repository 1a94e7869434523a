"""What Marathon's validators demand of a complete app, in their words and with their paths."""

from __future__ import annotations

from typing import Any

import re2

from framework.core import constraints
from framework.core.templates import Constraint, Operator
from framework.local.marathon.definition import paths
from framework.local.marathon.definition.app import App, HealthCheck, ReadinessCheck, SecretRef, Unreachable
from framework.local.marathon.definition.faults import Faults
from framework.local.marathon.definition.rules_container import check_container, check_networks, compiles, names_unique

_PORT_INDEX = "Health check port indices must address an element of the ports array or container port mappings."
_ROLE_CHARACTERS = {
    "\t": "horizontal tab (\\x09)",
    "\n": "line feed (\\x0a)",
    "\v": "vertical tab (\\x0b)",
    "\f": "form feed (\\x0c)",
    "\r": "carriage return (\\x0d)",
    " ": "space (\\x20)",
    "/": "slash (\\x2f)",
    "\x7f": "backspace (\\x7f)",
}
_OPERANDS = {
    Operator.UNIQUE: "UNIQUE does not accept a value",
    Operator.GROUP_BY: "GROUP BY must define an integer value or else no value at all",
    Operator.MAX_PER: "MAX_PER requires an integer value",
    Operator.LIKE: "LIKE and UNLIKE require a non-empty, regular expression value",
    Operator.UNLIKE: "LIKE and UNLIKE require a non-empty, regular expression value",
    Operator.IS: "IS only supports Mesos text and float values"
    " (see http://mesos.apache.org/documentation/latest/attributes-resources/)",
}
_URI = re2.compile(r"([A-Za-z0-9._~:/?#@!$&'()*+,;=\[\]-]|%[0-9A-Fa-f]{2}|[^\x00-\x7f])+")
_IS_VALUE = re2.compile(r"[a-zA-Z0-9_/.-]*")


MAX_INSTANCES = 10_000
"""Of one app: more than Mesos has been seen to run on one machine at once, all apps together."""
TOO_MANY = f"more than {MAX_INSTANCES} instances cannot be had on this machine"


def check_app(app: App, faults: Faults, *, roles: tuple[str, ...]) -> None:
    """``roles``: those the app may have where it is."""
    _check_id(app, faults)
    faults.unless(app.instances <= MAX_INSTANCES, "/instances", TOO_MANY)
    _check_command(app, faults)
    for place, constraint in enumerate(app.constraints):
        error = constraint_fault(constraint)
        faults.unless(error is None, f"/constraints({place})", error or "")
    check_networks(app, faults)
    check_container(app, faults)
    _check_ports(app, faults)
    _check_health(app, faults)
    _check_readiness(app, faults)
    _check_artifacts(app, faults)
    _check_secrets(app, faults)
    _check_roles(app, faults, roles)
    _check_strategies(app, faults)
    _check_labels(app, faults)
    _check_limits(app, faults)


def constraint_fault(constraint: tuple[str, ...]) -> str | None:
    """What is wrong with one of an app's constraints, whose operator may be in any case."""
    if not 2 <= len(constraint) <= 3:
        return "Each constraint must have either 2 or 3 fields"
    field, operator = constraint[0], constraint[1].upper()
    value = constraint[2] if len(constraint) == 3 else None
    if not field:
        return "illegal constraint specification"
    if operator not in list(Operator):
        return "operator must be one of the following UNIQUE, CLUSTER, GROUP_BY, LIKE, MAX_PER or UNLIKE"
    if not _operand_fits(Operator(operator), value):
        return _OPERANDS[Operator(operator)]
    if operator in ("LIKE", "UNLIKE") and not compiles(value or ""):
        return "is not a valid regular expression"
    return next(iter(constraints.faults(Constraint(field, Operator(operator), value or ""))), None)


def _operand_fits(operator: Operator, value: str | None) -> bool:
    match operator:
        case Operator.UNIQUE:
            return value is None
        case Operator.GROUP_BY:
            return value is None or _integer(value)
        case Operator.MAX_PER:
            return value is not None and _integer(value)
        case Operator.LIKE | Operator.UNLIKE:
            return bool(value)
        case Operator.IS:
            return bool(_IS_VALUE.fullmatch(value or ""))
        case _:
            return True


def _integer(value: str) -> bool:
    digits = value[1:] if value[:1] in ("-", "+") else value
    return digits.isascii() and digits.isdigit() and len(digits) <= 10 and -(2**31) <= int(value) < 2**31


def _check_id(app: App, faults: Faults) -> None:
    faults.unless(app.id != paths.ROOT, "/", "must not be root")
    for error in paths.faults_of(app.id):
        faults.rule("/id", error)
    for place, dependency in enumerate(app.dependencies):
        for error in paths.faults_of(dependency, reserved=False):
            faults.rule(f"/dependencies({place})", error)


def _check_command(app: App, faults: Faults) -> None:
    image = app.container is not None and app.container.docker is not None
    fine = bool(app.cmd) != bool(app.args) or (not app.cmd and not app.args and image)
    faults.unless(fine, "/", "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.")
    faults.unless("\0" not in (app.cmd or ""), "/cmd", "must not contain a NUL character")
    for place, argument in enumerate(app.args):
        faults.unless("\0" not in argument, f"/args({place})", "must not contain a NUL character")


def _check_ports(app: App, faults: Faults) -> None:
    if app.port_definitions is None:
        return
    names_unique([one.name for one in app.port_definitions], "/portDefinitions", faults)
    fixed = [one.port for one in app.port_definitions if one.port]
    faults.unless(len(set(fixed)) == len(fixed), "/portDefinitions", "Ports must be unique.")


def _check_health(app: App, faults: Faults) -> None:
    count = len(app.service_ports)
    for place, check in enumerate(app.health_checks):
        at = f"/healthChecks({place})"
        if check.protocol == "COMMAND":
            faults.unless(check.command is not None, at, "command health check missing command")
        else:
            faults.unless(_addressed(check.port_index, check.port, count), at, _PORT_INDEX)
        faults.unless(
            check.ip_protocol == "IPv4" or _may_be_ipv6(app, check),
            at,
            "IPv6 can only be used for container type DOCKER and Mesos http/https/tcp health checks",
        )
    by_mesos = sum(one.protocol.startswith("MESOS_") or one.protocol == "COMMAND" for one in app.health_checks)
    commands = sum(one.command is not None for one in app.health_checks)
    faults.unless(by_mesos - commands <= 1, "/", "AppDefinition can contain at most one Mesos health check")
    if app.check is not None:
        _check_check(app.check, count, faults)


def _check_check(check: dict[str, Any], ports: int, faults: Faults) -> None:
    kinds = check.keys() & {"http", "tcp", "exec"}
    faults.unless(len(kinds) == 1, "/check", "must specify a single type of check, http, tcp, or exec")
    for kind in kinds - {"exec"}:
        addressed = _addressed(check[kind].get("portIndex"), check[kind].get("port"), ports)
        faults.unless(addressed, f"/check/{kind}", _PORT_INDEX)
    if "exec" in kinds:
        one = len(check["exec"]["command"]) == 1
        faults.unless(one, "/check/exec/command", "specify either `shell` or `argv`, never both")


def _addressed(index: int | None, port: int | None, count: int) -> bool:
    return index < count if index is not None else port is not None or count == 1


def _may_be_ipv6(app: App, check: HealthCheck) -> bool:
    return app.container is not None and app.container.type == "DOCKER" and check.protocol.startswith("MESOS_")


def _check_readiness(app: App, faults: Faults) -> None:
    count = len(app.readiness_checks)
    faults.unless(count <= 1, "/readinessChecks", f"got {count}, expected 1 or less")
    if app.container is not None and app.container.port_mappings is not None:
        names = {one.name for one in app.container.port_mappings}
    else:
        names = {one.name for one in app.port_definitions or ()}
    for place, check in enumerate(app.readiness_checks):
        _check_readiness_one(check, f"/readinessChecks({place})", names, faults)


def _check_readiness_one(check: ReadinessCheck, at: str, names: set[str | None], faults: Faults) -> None:
    missing = f"No port definition reference for portName {check.port_name}"
    faults.unless(check.port_name in names, f"{at}/portName", missing)
    shorter = check.timeout_seconds < check.interval_seconds
    error = f"got {check.timeout_seconds}, expected less than {check.interval_seconds}"
    faults.unless(shorter, f"{at}/timeoutSeconds", error)


def _check_artifacts(app: App, faults: Faults) -> None:
    for place, artifact in enumerate(app.fetch):
        faults.unless(bool(_URI.fullmatch(artifact.uri)), f"/fetch({place})/uri", "URI has invalid syntax.")
        path = artifact.dest_path or ""
        within = not path.startswith("/") and ".." not in path.split("/")
        faults.unless(within, f"/fetch({place})/destPath", "must be within the sandbox")


def _check_secrets(app: App, faults: Faults) -> None:
    faults.unless("" not in app.secrets, "/secrets", "must not be empty")
    for name, value in app.env.items():
        at = f"/env/{name}"
        faults.unless(bool(name), "/env", "must not be empty")
        faults.unless("=" not in name and "\0" not in name, at, "must not contain '=' or a NUL character")
        if isinstance(value, SecretRef):
            faults.unless(value.secret in app.secrets, f"{at}/secret", "references an undefined secret")
        else:
            faults.unless("\0" not in value, at, "must not contain a NUL character")


def _check_roles(app: App, faults: Faults, roles: tuple[str, ...]) -> None:
    faults.unless(app.role in roles, "/role", f"got {app.role}, expected one of: [{', '.join(roles)}]")
    faults.unless(not app.resident or app.role != "*", "/role", "Resident apps cannot have the role *")
    accepted = app.accepted_resource_roles
    if accepted is None:
        return
    faults.unless(bool(accepted), "/acceptedResourceRoles", "must not be empty")
    for place, role in enumerate(accepted):
        for error in role_faults(role):
            faults.rule(f"/acceptedResourceRoles({place})", error)
    resident = 'A resident app must have `acceptedResourceRoles = ["*"]`.'
    faults.unless(not app.resident or accepted == ("*",), "/acceptedResourceRoles", resident)


def role_faults(role: str) -> list[str]:
    """What is wrong with a role's name, as Mesos has it."""
    found = [f'A role name must not be "{role}".'] if role in ("", ".", "..") else []
    if role.startswith("-"):
        found.append("A role name must not start with a '-'.")
    found += [
        f"A role name must not include a {told} character." for one, told in _ROLE_CHARACTERS.items() if one in role
    ]
    return found


def _check_strategies(app: App, faults: Faults) -> None:
    strategy = app.upgrade_strategy
    single = app.labels.get("MARATHON_SINGLE_INSTANCE_APP") == "true"
    if single:
        faults.unless(app.instances <= 1, "/", "Single instance app may only have one instance")
        given = strategy.minimum_health_capacity
        faults.unless(given == 0, "/upgradeStrategy/minimumHealthCapacity", f"got {given}, expected 0.0")
    external = app.container is not None and any(one.external for one in app.container.volumes)
    if single or app.resident or external:
        given = strategy.maximum_over_capacity
        faults.unless(given == 0, "/upgradeStrategy/maximumOverCapacity", f"got {given}, expected 0.0")
    unreachable = app.unreachable_strategy
    if not isinstance(unreachable, Unreachable):
        return
    faults.unless(not app.resident, "/", "unreachableStrategy must be disabled for resident tasks")
    inactive, expunge = unreachable.inactive_after_seconds, unreachable.expunge_after_seconds
    error = f"inactiveAfterSeconds ({inactive}) must be less or equal to expungeAfterSeconds, which is {expunge}"
    faults.unless(inactive <= expunge, "/unreachableStrategy/inactiveAfterSeconds", error)


def _check_labels(app: App, faults: Faults) -> None:
    version = app.labels.get("DCOS_MIGRATION_API_VERSION")
    if version:
        told = app.labels.get("DCOS_PACKAGE_FRAMEWORK_NAME") and app.labels.get("DCOS_MIGRATION_API_PATH")
        error = (
            "DCOS_PACKAGE_FRAMEWORK_NAME and DCOS_MIGRATION_API_PATH must be defined"
            " when using DCOS_MIGRATION_API_VERSION"
        )
        faults.unless(version == "v1" and bool(told), "/", error)


def _check_limits(app: App, faults: Faults) -> None:
    for name, limit in (app.resource_limits or {}).items():
        requested = getattr(app, name)
        if isinstance(limit, int | float):
            error = f"must be greater than or equal to the {name} requested, {requested:g}"
            faults.unless(limit >= requested, f"/resourceLimits/{name}", error)
