"""Where the tasks of apps are reached, in lines for scripts: ``app TAB service port TAB host:port TAB ...``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from framework.local.marathon.definition.app import App, NetworkMode
from framework.local.marathon.records import Condition, Instance


def endpoints(app: App, instances: Iterable[Instance], networks: frozenset[str]) -> list[str]:
    """One line a service port, or one of the hosts alone where the app has none.

    ``networks``: names of the container networks on which containers are told with their own addresses, or ``*``.
    """
    running = [one for one in instances if one.condition is Condition.RUNNING and one.site]
    name = app.id[1:].replace("/", "_")
    if not app.service_ports:
        hosts = "".join(f"{one.site.hostname}\t" for one in running if one.site)
        return [f"{name}\t \t{hosts}\n"]
    return [
        f"{name}\t{port}\t{''.join(_endpoints_of(app, index, running, networks))}\n"
        for index, port in enumerate(app.service_ports)
    ]


def _endpoints_of(app: App, index: int, running: Sequence[Instance], networks: frozenset[str]) -> Iterator[str]:
    mappings = (app.container.port_mappings if app.container else None) or ()
    mapping = mappings[index] if index < len(mappings) else None
    if mapping is not None and mapping.host_port is None:
        own = mapping.network_names or [one.name for one in app.networks if one.mode is NetworkMode.CONTAINER]
        if networks.isdisjoint(["*", *own] if own else []):
            return
        yield from (f"{one.addresses[0]}:{mapping.container_port}\t" for one in running if one.addresses)
        return
    for one in running:
        if one.site and index < len(one.ports):
            yield f"{one.site.hostname}:{one.ports[index]}\t"
