"""Where the tasks of apps are reached, in lines for scripts: ``app TAB service port TAB host:port TAB ...``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from framework.local.marathon.definition.app import App, NetworkMode, PortMapping
from framework.local.marathon.records import Condition, Instance


def endpoints(app: App, instances: Iterable[Instance], networks: frozenset[str]) -> list[str]:
    """One line a service port, or one of the hosts alone where the app has none.

    ``networks``: names of the container networks that are wanted with the containers' own addresses, or ``*``. Apps on
    no other networks than those that are not wanted, without a port of the host, are left out.
    """
    running = [one for one in instances if one.condition is Condition.RUNNING and one.site]
    name = app.id[1:].replace("/", "_")
    own = _own_network_names(app)
    with_own = bool(own) and ("*" in networks or not networks.isdisjoint(own))
    mappings = _mappings(app)
    if own and not with_own and not any(one.host_port is not None for one in mappings):
        return []
    if not app.service_ports:
        hosts = "".join(f"{one.site.hostname} " for one in running if one.site)
        return [f"{name}\t \t{hosts}\n"]
    return [
        f"{name}\t{port}\t{''.join(_endpoints_of(index, running, mappings, with_own))}\n"
        for index, port in enumerate(app.service_ports)
    ]


def _endpoints_of(
    index: int, running: Sequence[Instance], mappings: Sequence[PortMapping], with_own: bool
) -> Iterator[str]:
    mapping = mappings[index] if index < len(mappings) else None
    for one in running:
        if mapping is not None and mapping.host_port is None:
            if with_own and one.addresses:
                yield f"{one.addresses[0]}:{mapping.container_port}\t"
        elif one.site:
            yield f"{one.site.hostname}:{one.ports[index] if index < len(one.ports) else 0}\t"


def _own_network_names(app: App) -> frozenset[str]:
    return frozenset(one.name or "" for one in app.networks if one.mode is NetworkMode.CONTAINER)


def _mappings(app: App) -> tuple[PortMapping, ...]:
    return (app.container.port_mappings if app.container else None) or ()
