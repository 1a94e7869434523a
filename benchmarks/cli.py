"""``butlery bench``: the figures the project is held to. Each command ends with one JSON object on standard output."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks import placement as placement_benchmark
from benchmarks.demo import BUILDS, MAX_BUILDS, MIN_BUILDS

bench = typer.Typer(name="bench", help="Measure what the project promises.", no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Only one JSON object on standard output.")]


@bench.callback()
def bench_group() -> None:
    """Measure what the project promises; each command's last line is one JSON object."""


class PlacementPeer(StrEnum):
    """What placement can be held against."""

    FENZO = "fenzo"


@bench.command()
def placement(
    as_json: JsonOption = False,
    repeats: Annotated[int, typer.Option(min=5, max=100, help="Runs of each mix; medians of them are told.")] = 7,
    seed: Annotated[int, typer.Option(help="Of the requests drawn.")] = 1,
    peer: Annotated[
        PlacementPeer | None,
        typer.Option(help="Place the same with this as well, on 317 and on 2000 hosts; with Java."),
    ] = None,
) -> None:
    """Place 8000 requests on the 317 hosts of the reference installation, with the real core."""
    if peer is None:
        _tell(placement_benchmark.run(seed, repeats, None if as_json else Console(stderr=True)))
    else:
        from benchmarks import placement_peer

        _tell(placement_peer.run(seed, repeats, _progress()))


@bench.command()
def core(
    as_json: JsonOption = False,
    repeats: Annotated[int, typer.Option(min=5, max=100, help="Of each size, in turns; medians are told.")] = 7,
    seed: Annotated[int, typer.Option(help="Of the builds drawn.")] = 1,
) -> None:
    """Tell what a build costs the core alone, with 40,000 builds on 5000 hosts against 1000 on 317."""
    from benchmarks import core as core_benchmark

    _tell(core_benchmark.run(seed, repeats, None if as_json else _progress()))


@bench.command()
def latency(
    as_json: JsonOption = False,
    builds: Annotated[int, typer.Option(min=1, max=10_000, help="Builds that find offers at hand.")] = 120,
    idle: Annotated[int, typer.Option(min=0, max=1000, help="Builds that come when no offers are held.")] = 5,
) -> None:
    """Time builds from the queue to TASK_RUNNING, on a real Mesos, the Mesos executor's start included."""
    from benchmarks import latency as latency_benchmark

    _measure(lambda progress: latency_benchmark.run(builds, idle, progress), latency_benchmark.show, as_json=as_json)


@bench.command()
def memory(
    as_json: JsonOption = False,
    waiting: Annotated[int, typer.Option(min=1, max=100_000, help="Builds that wait.")] = 8000,
    running: Annotated[int, typer.Option(min=1, max=2000, help="Builds that run, each with its processes.")] = 500,
) -> None:
    """Tell the scheduler's resident memory while builds wait and run, on a real Mesos."""
    from benchmarks import memory as memory_benchmark

    _measure(lambda progress: memory_benchmark.run(waiting, running, progress), memory_benchmark.show, as_json=as_json)


@bench.command()
def wire(
    as_json: JsonOption = False,
    rounds: Annotated[
        int, typer.Option(min=1, max=100, help="Of each driver, in turn; medians of them are told.")
    ] = 21,
    tasks: Annotated[int, typer.Option(min=10, max=100_000, help="Life cycles a round.")] = 1000,
    events: Annotated[int, typer.Option(min=1, max=1000, help="OFFERS events of 317 hosts a round, declined.")] = 20,
) -> None:
    """Compare the CPU time of our Mesos driver with pymesos', both against one and the same server."""
    from benchmarks.wire import run as wire_benchmark

    _tell(wire_benchmark.run(tasks, events, rounds, None if as_json else _progress()))


@bench.command()
def failover(
    as_json: JsonOption = False,
    builds: Annotated[int, typer.Option(min=1, max=5000, help="Builds that run when the leader is killed.")] = 1000,
) -> None:
    """Kill the scheduler that leads, on a real Mesos and ZooKeeper; tell when the standby acts, and what was lost."""
    from benchmarks.failover import run as failover_benchmark

    _measure(lambda progress: failover_benchmark.run(builds, progress), failover_benchmark.show, as_json=as_json)


@bench.command()
def mesos(
    as_json: JsonOption = False,
    tasks: Annotated[int, typer.Option(min=2, max=20_000, help="At once; as many again take their place.")] = 8000,
    hosts: Annotated[int, typer.Option(min=1, max=317, help="Real Mesos agents.")] = 317,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Of each program, in turn; medians are told.")] = 5,
) -> None:
    """Compare our scheduler with the shortest program that launches and acknowledges, on one real Mesos."""
    from benchmarks.mesos import run as mesos_benchmark

    _measure(
        lambda progress: mesos_benchmark.run(tasks, hosts, rounds, progress), mesos_benchmark.show, as_json=as_json
    )


@bench.command()
def marathon(
    as_json: JsonOption = False,
    apps: Annotated[int, typer.Option(min=1, max=5000, help="Of one instance each.")] = 2000,
    hosts: Annotated[int, typer.Option(min=1, max=317, help="Real Mesos agents.")] = 317,
    scale_to: Annotated[int, typer.Option(min=2, max=5000, help="Instances one app is scaled to, and back.")] = 1000,
    rolled: Annotated[int, typer.Option(min=10, max=2000, help="Instances of the app that is rolled.")] = 200,
    subscribers: Annotated[int, typer.Option(min=1, max=500, help="Of the event stream, meanwhile.")] = 100,
) -> None:
    """Launch, ask for, scale and roll apps on the Marathon-compatible server, on a real Mesos; tasks only pretend."""
    from benchmarks.marathon import run as marathon_benchmark

    _measure(
        lambda progress: marathon_benchmark.run(apps, hosts, scale_to, rolled, subscribers, progress),
        marathon_benchmark.show,
        as_json=as_json,
    )


@bench.command()
def masters(
    as_json: JsonOption = False,
    tenants: Annotated[int, typer.Option(min=1, max=5000, help="Masters that only pretend.")] = 2000,
    hosts: Annotated[int, typer.Option(min=1, max=317, help="Real Mesos agents for them.")] = 317,
    clients: Annotated[int, typer.Option(min=1, max=5000, help="Of small real masters that stay, by HAProxy.")] = 1000,
    moving: Annotated[int, typer.Option(min=1, max=200, help="Other masters that move meanwhile.")] = 50,
) -> None:
    """Make masters of a directory of YAML, list, kill and move them, with users at their one address."""
    from benchmarks.masters import run as masters_benchmark

    _measure(
        lambda progress: masters_benchmark.run(tenants, hosts, clients, moving, progress),
        masters_benchmark.show,
        as_json=as_json,
    )


@bench.command()
def jenkins(
    as_json: JsonOption = False,
    masters: Annotated[int, typer.Option(min=1, max=1000, help="Stand-ins for Jenkins.")] = 200,
    items: Annotated[int, typer.Option(min=2, max=50_000, help="Builds in their queues.")] = 8000,
    hosts: Annotated[int, typer.Option(min=1, max=317, help="Real Mesos agents, for agents that pretend.")] = 317,
    builds: Annotated[int, typer.Option(min=0, max=10_000, help="Builds of real agents, timed; 0: none.")] = 70,
    warm: Annotated[int, typer.Option(min=0, max=10_000, help="Such that find a warm spare.")] = 60,
) -> None:
    """Serve builds from the queues of many masters by one-shot agents on a real Mesos, and time the agents' coming."""
    from benchmarks.jenkins import run as jenkins_benchmark

    _measure(
        lambda progress: jenkins_benchmark.run(masters, items, hosts, builds, warm, progress),
        jenkins_benchmark.show,
        as_json=as_json,
    )


@bench.command()
def poller(
    as_json: JsonOption = False,
    masters: Annotated[int, typer.Option(min=1, max=10_000, help="Masters that only answer looks.")] = 2000,
    seconds: Annotated[int, typer.Option(min=1, max=3600, help="Of each case.")] = 60,
    every: Annotated[int, typer.Option(min=1, max=3600, help="Seconds between looks that only cross-check.")] = 60,
) -> None:
    """Tell what looking at masters costs the scheduler, where their events come and where they do not."""
    from benchmarks.poller import run as poller_benchmark

    _measure(
        lambda progress: poller_benchmark.run(masters, seconds, every, progress), poller_benchmark.show, as_json=as_json
    )


@bench.command()
def demand(
    as_json: JsonOption = False,
    masters: Annotated[int, typer.Option(min=1, max=2000, help="Masters that tell of their queues.")] = 50,
    seconds: Annotated[int, typer.Option(min=1, max=600, help="For so long.")] = 20,
    rate: Annotated[int, typer.Option(min=8, max=100_000, help="Events a second, of all together.")] = 5300,
) -> None:
    """Tell how soon the scheduler takes what masters tell of their queues and builds, on one core."""
    from benchmarks.demand import run as demand_benchmark

    _measure(
        lambda progress: demand_benchmark.run(masters, seconds, rate, progress), demand_benchmark.show, as_json=as_json
    )


@bench.command()
def telemetry(
    as_json: JsonOption = False,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Of each way, in turns; medians are told.")] = 5,
    documents: Annotated[int, typer.Option(min=100, max=1_000_000, help="A round.")] = 35_000,
    outage: Annotated[int, typer.Option(min=10, max=86_400, help="Seconds of builds while it is dead.")] = 600,
    speed: Annotated[float, typer.Option(min=1, max=1000, help="How much faster they come than they would.")] = 20,
    past: Annotated[
        int, typer.Option(min=1000, max=10_000_000, help="Builds in the history that is asked.")
    ] = 1_000_000,
    lists: Annotated[int, typer.Option(min=10, max=100_000, help="Questions for lists of them.")] = 300,
    statistics: Annotated[int, typer.Option(min=1, max=10_000, help="Questions for each kind of statistics.")] = 25,
    share: Annotated[
        int, typer.Option(min=2, max=3600, help="Seconds of builds of a real scheduler, for each sink.")
    ] = 60,
) -> None:
    """Hold the way of records into a real Elasticsearch against its own client's, kill it, and ask about the past."""
    from benchmarks.telemetry import run as telemetry_benchmark

    sizes = telemetry_benchmark.Sizes(rounds, documents, outage, speed, past, lists, statistics, share)
    _measure(lambda progress: telemetry_benchmark.run(sizes, progress), telemetry_benchmark.show, as_json=as_json)


@bench.command("all")
def everything() -> None:
    """Run every benchmark as it is by default; one JSON object with the figures of each under its name."""
    from benchmarks import core as core_benchmark
    from benchmarks import latency as latency_benchmark
    from benchmarks import memory as memory_benchmark

    progress = _progress()
    figures = {"placement": placement_benchmark.run(console=progress), "core": core_benchmark.run(console=progress)}
    with ended_by_signals():
        figures["latency"] = latency_benchmark.run(latency_benchmark.BUILDS, latency_benchmark.IDLE, progress)
        figures["memory"] = memory_benchmark.run(memory_benchmark.WAITING, memory_benchmark.RUNNING, progress)
    _tell(figures)


def demo(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the figures as one JSON object; progress goes to standard error.")
    ] = False,
    builds: Annotated[int, typer.Option(min=MIN_BUILDS, max=MAX_BUILDS, help="How many builds.")] = BUILDS,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the cluster up afterwards, to look around.")] = False,
) -> None:
    """Three tenants' builds on a real Mesos of this machine. Exit code 0 where every build ended as it should."""
    from benchmarks.demo.run import run

    with ended_by_signals():
        progress = _progress()
        figures = run(builds, keep, progress, progress if as_json else Console(highlight=False))
    if as_json:
        _tell(figures)
    raise typer.Exit(0 if figures["as_expected"] == figures["builds"] else 1)


def _measure(
    run: Callable[[Console], dict[str, Any]], show: Callable[[dict[str, Any], Console], None], *, as_json: bool
) -> None:
    """Prints the figures: as one JSON object, or as a person reads them. ``run`` is given where its progress goes."""
    with ended_by_signals():
        figures = run(_progress())
    if as_json:
        _tell(figures)
    else:
        show(figures, Console(highlight=False))


def _progress() -> Console:
    return Console(stderr=True, highlight=False)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Ends the program with 128 and the signal's number, as shells have it, once all is cleared up."""
    from benchmarks.cluster import Interrupted

    try:
        yield
    except Interrupted as interruption:
        raise typer.Exit(128 + interruption.number) from None


def _tell(figures: dict[str, Any]) -> None:
    typer.echo(json.dumps(figures))
