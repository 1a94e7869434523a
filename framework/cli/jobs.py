"""``butlery jobs``: submit, list, show, logs, why, cancel, wait, artifacts."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

import typer

from framework.cli import exits
from framework.cli.connection import AsJson, Directory, Server, TokenFile, connect
from framework.cli.output import (
    amount,
    brief,
    outcome,
    print_json,
    print_line,
    print_table,
    printable,
    say,
    seconds,
    since,
)
from framework.cli.past_builds import print_refusals
from framework.errors import ButleryError, Fault, InputError

if TYPE_CHECKING:
    from framework.cli.client import ApiClient

jobs_app = typer.Typer(help="Builds: submit, follow, ask why they wait.", no_args_is_help=True)

JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")]
COLUMNS = ("JOB", "TENANT", "NAME", "STATE", "ATTEMPT", "CPUS", "MEM MIB", "QUEUED", "RAN", "EXIT")


@jobs_app.command()
def submit(
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="The job as YAML; options go before it.")
    ] = None,
    tenant: Annotated[str | None, typer.Option(help="For whom; a tenant's own token implies it.")] = None,
    name: Annotated[str | None, typer.Option(help="The job's name.")] = None,
    command: Annotated[str | None, typer.Option(metavar="LINE", help="One line for /bin/sh.")] = None,
    script: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A script to run; its `#!` line is kept to.")
    ] = None,
    jenkinsfile: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A Jenkinsfile to run; `.butlery.yaml` beside it is taken too."),
    ] = None,
    jenkinsfile_path: Annotated[
        str | None, typer.Option(metavar="PATH", help="A Jenkinsfile of the repository to run.")
    ] = None,
    param: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Parameter of the Jenkinsfile; may be repeated.")
    ] = None,
    image: Annotated[str | None, typer.Option(help="Docker image.")] = None,
    label: Annotated[str | None, typer.Option(help="Label expression that a template serves.")] = None,
    git_url: Annotated[str | None, typer.Option(metavar="URL", help="Repository to check out first.")] = None,
    git_ref: Annotated[str | None, typer.Option(metavar="REF", help="Branch, tag or commit of it.")] = None,
    cpus: Annotated[float | None, typer.Option(help="CPUs.")] = None,
    mem_mib: Annotated[int | None, typer.Option(help="Memory in MiB.")] = None,
    disk_mib: Annotated[int | None, typer.Option(help="Disk in MiB.")] = None,
    env: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Environment; may be repeated.")] = None,
    secret_env: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Secret taken from this variable here; may be repeated.")
    ] = None,
    secret_file: Annotated[
        list[str] | None, typer.Option(metavar="NAME=FILE", help="Secret taken from a file; may be repeated.")
    ] = None,
    priority: Annotated[int | None, typer.Option(help="Higher goes first among the tenant's own.")] = None,
    timeout_s: Annotated[float | None, typer.Option(help="Longest run, in seconds.")] = None,
    grace_s: Annotated[float | None, typer.Option(help="Between TERM and KILL, in seconds.")] = None,
    artifact: Annotated[list[str] | None, typer.Option(metavar="GLOB", help="Files to keep; may be repeated.")] = None,
    retries: Annotated[int | None, typer.Option(help="Attempts more after losses of hosts.")] = None,
    attribute: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="What the host must have; may be repeated.")
    ] = None,
    gpus: Annotated[int | None, typer.Option(help="GPUs of the host.")] = None,
    ports: Annotated[int | None, typer.Option(help="How many ports of the host it gets for its own.")] = None,
    constraint: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD:OPERATOR[:VALUE]", help="As Marathon has them; may be repeated."),
    ] = None,
    reserved: Annotated[
        str | None, typer.Option(metavar="last|first|only|never", help="When what is reserved for the role is used.")
    ] = None,
    preemptible: Annotated[
        bool | None, typer.Option("--preemptible/--not-preemptible", help="Whether others may take its place.")
    ] = None,
    mesos_executor: Annotated[
        str | None, typer.Option(metavar="own|shared", help="`shared` starts short builds faster.")
    ] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="A repeat with the same key makes no second build.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for its end; exit code 1 unless it passed.")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Show its output, and wait for its end.")] = False,
    as_json: AsJson = False,
    server: Server = None,
    token_file: TokenFile = None,
    directory: Directory = None,
) -> None:
    """Submit a build and print its id. Secrets come from variables and files, never from the command line."""
    from framework.cli.client import RefusedError
    from framework.cli.job_file import Draft
    from framework.documents import read_document

    draft = Draft(read_document(file) if file is not None else None)
    for field, value in (
        ("tenant", tenant), ("name", name), ("image", image), ("label", label), ("cpus", cpus), ("mem_mib", mem_mib),
        ("disk_mib", disk_mib), ("priority", priority), ("timeout_s", timeout_s), ("grace_s", grace_s),
        ("retries", retries), ("gpus", gpus), ("ports", ports), ("reserved", reserved), ("preemptible", preemptible),
        ("mesos_executor", mesos_executor),
    ):  # fmt: skip
        draft.put(field, value)
    draft.put_command(command, script, jenkinsfile, jenkinsfile_path)
    draft.put_pairs("parameters", "--param", param or ())
    draft.put_git(git_url, git_ref)
    draft.put_list("artifacts", artifact or ())
    draft.put_list("constraints", [text.split(":", 2) for text in constraint or ()])
    draft.put_pairs("env", "--env", env or ())
    draft.put_pairs("attributes", "--attribute", attribute or ())
    draft.put_secrets(secret_env or (), secret_file or ())
    body = draft.finished()
    if as_json and follow:
        raise InputError([Fault("--follow", "its output would stand between; use --wait with --json")])
    client = connect(server, token_file, directory)
    key = idempotency_key if idempotency_key is not None else secrets.token_urlsafe(24)
    try:
        job = client.send("POST", "/v1/jobs", body, {"Idempotency-Key": _header(key)})
    except RefusedError as error:
        raise RefusedError(error.status, str(error), draft.placed(error.faults)) from error
    if not (wait or follow):
        _print_jobs([job], as_json)
        return
    raise typer.Exit(_waited(client, [job["id"]], None, follow, as_json))


def _header(key: str) -> str:
    if not key.isascii() or not key.isprintable() or not key or " " in key:
        raise InputError([Fault("--idempotency-key", "must be visible ASCII characters without spaces")])
    return key


def _print_jobs(jobs: list[dict[str, Any]], as_json: bool) -> None:
    """One object for one job; of several, as the list command does."""
    if as_json:
        print_json(jobs[0] if len(jobs) == 1 else {"jobs": jobs})
        return
    for job in jobs:
        print_line(job["id"])


@jobs_app.command("list")
def listing(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
    state: Annotated[
        list[str] | None, typer.Option(help="waiting, launching, running, ending or ended; may be repeated.")
    ] = None,
    job: Annotated[str | None, typer.Option(metavar="NAME", help="Only jobs of this name.")] = None,
    limit: Annotated[int, typer.Option(help="So many at most.")] = 50,
    before: Annotated[str | None, typer.Option(metavar="JOB", help="Only older ones than this.")] = None,
    as_json: AsJson = False,
    server: Server = None,
    token_file: TokenFile = None,
    directory: Directory = None,
) -> None:
    """List builds, newest first."""
    params = {"tenant": tenant, "state": state or None, "job": job, "limit": limit, "before": before}
    found = connect(server, token_file, directory).get("/v1/jobs", params)
    if as_json:
        print_json(found)
        return
    print_table(COLUMNS, (job_row(one) for one in found["jobs"]))
    if found["next"]:
        say(f"there may be more: --before {found['next']}")


def job_row(job: Mapping[str, Any]) -> tuple[Any, ...]:
    result = job["result"] or {}
    code = result.get("exit_code")
    return (
        job["id"],
        job["tenant"],
        brief(job["name"]),
        outcome(job),
        job["attempt"],
        amount(job["resources"]["cpus"]),
        job["resources"]["mem_mib"],
        seconds(since(job["submitted_at"], job["running_at"] or job["ended_at"])),
        seconds(since(job["running_at"], job["ended_at"])),
        "" if code is None else code,
    )


@jobs_app.command()
def show(
    job: JobId,
    as_json: AsJson = False,
    server: Server = None,
    token_file: TokenFile = None,
    directory: Directory = None,
) -> None:
    """Show a build: what it was asked to do, how it stands, every attempt."""
    from framework.cli.client import job_path

    found = connect(server, token_file, directory).get(job_path(job))
    if as_json:
        print_json(found)
        return
    from framework.cli.showing import show_job

    show_job(found)


@jobs_app.command()
def logs(
    job: JobId,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the build has ended.")] = False,
    attempt: Annotated[int | None, typer.Option(help="By default the newest.")] = None,
    container: Annotated[
        str | None, typer.Option(metavar="NAME", help="One of its `containers`; by default the one that builds.")
    ] = None,
    as_json: AsJson = False,
    server: Server = None,
    token_file: TokenFile = None,
    directory: Directory = None,
) -> None:
    """Print a build's output, also while it runs."""
    from framework.cli import following
    from framework.cli.client import job_path

    client = connect(server, token_file, directory)
    if follow:
        if attempt is not None or as_json:
            raise InputError([Fault("--follow", "goes with neither --attempt nor --json")])
        _say_why(client, job)
        following.follow(client, job, container)
        return
    params: dict[str, Any] = {"offset": 0, "length": following.LOG_BYTES, "attempt": attempt, "container": container}
    output = bytearray()
    while True:
        response = client.call("GET", job_path(job, "log"), params=params)
        if not response.content:
            break
        params["offset"] = int(response.headers["Butlery-Next-Offset"])
        params["attempt"] = int(response.headers["Butlery-Attempt"])
        if as_json:
            output += response.content
        else:
            sys.stdout.buffer.write(response.content)
    if as_json:
        read = int(response.headers["Butlery-Attempt"])
        print_json({"job": job, "attempt": read, "output": output.decode(errors="replace")})


def _say_why(client: ApiClient, job: str) -> None:
    from framework.cli.client import job_path

    why = client.get(job_path(job, "why"))
    if why["waiting"]:
        say(printable(f"waiting: {why['summary']}"))


@jobs_app.command()
def why(
    job: JobId,
    as_json: AsJson = False,
    server: Server = None,
    token_file: TokenFile = None,
    directory: Directory = None,
) -> None:
    """Say why a build waits: what turned it away, on how many hosts."""
    from framework.cli.client import job_path

    found = connect(server, token_file, directory).get(job_path(job, "why"))
    if as_json:
        print_json(found)
        return
    print_line(printable(found["summary"]))
    if not found["waiting"]:
        return
    for blocker in found["blockers"]:
        print_line(printable(f"  held by: {blocker}"))
    looked = f"{found['hosts_looked_at']} hosts and {found['offers_looked_at']} offers looked at"
    print_line(f"  waits for {seconds(found['waiting_s'])}, {found['ahead']} ahead of it, {looked}")
    print_refusals(found["refusals"])


@jobs_app.command()
def cancel(
    jobs: Annotated[list[str], typer.Argument(metavar="JOB", help="Ids of jobs.")],
    as_json: AsJson = False,
    server: Server = None,
    token_file: TokenFile = None,
    directory: Directory = None,
) -> None:
    """Cancel builds: TERM, and KILL after their grace. One that has ended is left as it was."""
    from framework.cli.client import job_path

    client = connect(server, token_file, directory)
    cancelled = [client.send("POST", job_path(job, "cancel")) for job in jobs]
    _print_jobs(cancelled, as_json)


@jobs_app.command("wait")
def wait_for(
    jobs: Annotated[list[str], typer.Argument(metavar="JOB", help="Ids of jobs.")],
    timeout_s: Annotated[
        float | None, typer.Option(min=0, help="Give up after so many seconds, with exit code 124.", show_default=False)
    ] = None,
    as_json: AsJson = False,
    server: Server = None,
    token_file: TokenFile = None,
    directory: Directory = None,
) -> None:
    """Wait until builds have ended. Exit code 0 only where all passed, else 1."""
    raise typer.Exit(_waited(connect(server, token_file, directory), jobs, timeout_s, follow=False, as_json=as_json))


def _waited(client: ApiClient, jobs: list[str], timeout_s: float | None, follow: bool, as_json: bool) -> int:
    """Waits for all of them and says how each ended; the exit code."""
    import time

    from framework.cli import following
    from framework.cli.client import job_path

    until = None if timeout_s is None else time.monotonic() + timeout_s
    found = []
    code = exits.OK
    for job in jobs:
        if follow:
            _say_why(client, job)
            following.follow(client, job)
        left_s = None if until is None else max(0.0, until - time.monotonic())
        ended = following.wait(client, job, left_s)
        if ended is None:
            ended = client.get(job_path(job))
            code = exits.STILL_RUNNING
        elif code == exits.OK:
            code = following.exit_code(ended)
        found.append(ended)
        say(following.ending(ended))
    if as_json:
        _print_jobs(found, as_json)
    return code


@jobs_app.command()
def artifacts(
    job: JobId,
    paths: Annotated[list[str] | None, typer.Argument(metavar="[PATH]...", help="Only these.")] = None,
    to: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Fetch them into this folder; without it they are listed.")
    ] = None,
    as_json: AsJson = False,
    server: Server = None,
    token_file: TokenFile = None,
    directory: Directory = None,
) -> None:
    """List or fetch what a build kept."""
    from framework.cli.client import job_path

    client = connect(server, token_file, directory)
    found = client.get(job_path(job, "artifacts"))["artifacts"]
    missing = sorted(set(paths or ()) - {one["path"] for one in found})
    if missing:
        raise InputError([Fault(path, f"is no artifact of {job}") for path in missing])
    chosen = [one for one in found if not paths or one["path"] in paths]
    if to is not None:
        for one in chosen:
            _fetch(client, job, one["path"], to)
    if as_json:
        print_json({"artifacts": chosen})
    else:
        print_table(("PATH", "BYTES"), ((one["path"], one["size_bytes"]) for one in chosen))


def _fetch(client: ApiClient, job: str, path: str, folder: Path) -> None:
    """Into the folder and nowhere else, whole or not at all."""
    from framework.cli.client import job_path

    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts or "\0" in path:
        raise InputError([Fault(printable(path), "would be written outside the folder; not fetched")])
    target = folder.joinpath(*parts.parts)
    partial = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            for chunk in client.chunks(job_path(job, "artifacts", path)):
                file.write(chunk)
        partial.replace(target)
    except OSError as error:
        raise ButleryError(f"{target} cannot be written: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)
