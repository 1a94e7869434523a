"""One build from its workspace to its result, in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from dataclasses import asdict
from functools import partial

from agents.executor import checkout, environment, furnishing, linux, service_files, supervision, workspace
from agents.executor.furnishing import FurnishError
from agents.executor.limits import Usage, Wanted, oom_verdict
from agents.executor.output import BuildLog
from agents.executor.process_body import ProcessBody, StartError
from agents.executor.wire import Interrupted, WireError
from agents.spec import BuildResult

TYPE_CHECKING = False
if TYPE_CHECKING:
    import select
    from collections.abc import Callable

    from agents.executor.limits import Limits, Verdict
    from agents.executor.readiness import Readiness
    from agents.executor.slot import Slot
    from agents.spec import BuildSpec

CHECKOUT_MESSAGE = "the checkout failed"
NO_ENGINE_MESSAGE = "needs %s, which takes a Docker engine; this host holds builds by %s: %s"
ONE_STREAM = 'exec "$0" "$@" 2>&1'
REMOVE_GROUP_TIMEOUT_S = 5.0


def main(spec: BuildSpec, slot: Slot, control_fd: int, report_fd: int) -> None:
    """Runs the build and reports on ``report_fd``. Returns when nothing of it is left but its log and artifacts."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the driver's pipe tells when to end
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    linux.become_subreaper()
    try:
        run = _Run(spec, slot, control_fd, report_fd)
    except OSError as error:
        report_failure(report_fd, "infrastructure", "the sandbox: %s" % error)
        return
    run.to_its_end()


def report_failure(report_fd: int, result_class: str, message: str) -> None:
    """Reports a build that could not be started."""
    _report(report_fd, {"result": asdict(BuildResult(result_class, message))})


def _report(report_fd: int, line: dict[str, object]) -> None:
    data = json.dumps(line).encode() + b"\n"
    try:
        while data:
            data = data[os.write(report_fd, data) :]
    except BrokenPipeError:
        pass  # the driver is gone; that ends the build by another way


class _Run:
    def __init__(self, spec: BuildSpec, slot: Slot, control_fd: int, report_fd: int) -> None:
        self._spec = spec
        self._slot = slot
        self._report_fd = report_fd
        self._started_s = time.monotonic()
        self._running = False
        self._wanted = Wanted(spec.mem_mib, spec.cpu_millis, spec.host.pids, spec.gpus)
        self._place = workspace.Place(slot.sandbox, slot.uid, inner=bool(spec.container))
        path = slot.sandbox + ".log" if spec.container else os.path.join(slot.sandbox, "build.log")
        self._log = BuildLog(path, spec.host.log_mib << 20, self._secrets())
        self._control = supervision.Control(control_fd, self._log.tell)
        self._meter = workspace.DiskMeter(self._place.measured(), held=spec.disk_mib > 0)
        self._wake, wake_w = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(wake_w, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_w, warn_on_full_buffer=False)
        self._usage = Usage(None, None)
        self._limits: Limits | None = None

    def to_its_end(self) -> None:
        result = BuildResult("infrastructure", "")
        try:
            result = self._build()
        except (StartError, OSError, WireError) as error:
            result.message = self._log.mask(str(error))
        except FurnishError as error:
            result = BuildResult(error.result_class, self._log.mask(str(error)))
        except Interrupted:
            result = BuildResult(*self._control.verdict())
        finally:
            result.isolation = self._slot.mode
            result.limit_mem_mib = self._wanted.mem_mib
            result.peak_disk_mib = self._peak_disk_mib()
            result.wall_s = round(time.monotonic() - self._started_s, 3)
            if result.result_class not in ("passed", "failed"):
                said = (result.result_class, result.message)
                self._log.note(": ".join(dict.fromkeys(said)))  # once where they are the same word
            self._log.close()
            result.log_bytes = self._log.size_bytes
            if self._limits is not None:
                self._remove_groups(self._limits)
            if self._spec.agent is not None:
                service_files.remove(self._slot.name)
            _report(self._report_fd, {"result": asdict(result)})
        failed = result.result_class not in ("passed", "cancelled")
        self._place.remove(keep=failed and self._spec.keep_failed_h > 0 and not self._spec.container)

    def _peak_disk_mib(self) -> float | None:
        """None of one that never began: there is nothing that it would be the peak of."""
        if self._running:
            self._meter.look_once_more()
        return self._meter.peak_mib

    def _secrets(self) -> list[str]:
        spec = self._spec
        return list(spec.secrets.values()) + (checkout.secrets_of(spec.git) if spec.git else [])

    def _build(self) -> BuildResult:
        spec = self._spec
        unheld = "" if self._slot.mode == "docker" else _takes_engine(spec)
        if unheld:
            return BuildResult("image", NO_ENGINE_MESSAGE % (unheld, self._slot.mode, self._slot.reason))
        if spec.user is not None and os.geteuid() != 0:
            return BuildResult("image", "user %s takes an executor that runs as root" % spec.user)
        self._place.prepare(spec.command)
        self._limits = self._slot.limits(self._wanted)
        self._limits.create()
        failed = self._checkout(self._limits) if spec.git else None
        if failed is not None:
            return failed
        result = self._in_container() if self._slot.mode == "docker" else self._as_processes(self._limits)
        if self._spec.artifacts and not self._control.orphaned:
            self._keep_artifacts(result)
        return result

    def _checkout(self, limits: Limits) -> BuildResult | None:
        source = self._spec.git
        assert source is not None  # noqa: S101 - asked only then
        gitconfig = os.path.join(self._place.sandbox, "home", ".gitconfig-checkout")
        with open(gitconfig, "w", encoding="ascii") as file:
            file.write(checkout.CONFIG)
        try:
            made = checkout.environment(
                source, self._place.within("home"), self._place.within("home/.gitconfig-checkout")
            )
        except checkout.BadSourceError as error:
            return BuildResult("checkout", self._log.mask(str(error)))
        self._log.note("checking out %s" % checkout.shown(source))
        self._log.forget_tail()
        body = ProcessBody(limits, self._place)
        body.start(["/bin/sh", "-c", checkout.SCRIPT], made)
        watch = self._watch(body)
        body.close()
        with contextlib.suppress(OSError):
            os.unlink(gitconfig)
        if watch.verdict is None and body.exit_code == 0:
            return None
        verdict = watch.verdict or body.check(time.monotonic()) or body.hindsight()
        if verdict is None:
            verdict = "checkout", self._log.last_line() or CHECKOUT_MESSAGE
        return self._result(verdict, body.exit_code, body.signal, 0)

    def _stand_by(self) -> BuildResult | None:
        """Where it is a spare, waits for its agent, and becomes that; the result where it is to end instead."""
        if not self._spec.standby:
            return None
        from agents.executor import standby

        self._tell_running()
        made = standby.wait(self._spec, self._control, self._wake)
        if made is None:
            return BuildResult(*self._control.verdict())
        self._spec = made
        self._log.hide(self._secrets())
        self._started_s = time.monotonic()
        return None

    def _furnish(self, linked: bool) -> tuple[str, str] | None:
        """Puts beside the command what it needs; an agent's jar and the file of its secret, where it is one.

        Raises furnishing.FurnishError, wire.Interrupted, OSError.
        """
        spec, uid = self._spec, self._slot.uid
        inside = os.path.join(self._place.sandbox, "workspace")
        if spec.files:
            furnishing.write_files(inside, spec.files, uid)
        if spec.volumes and linked:
            furnishing.link_volumes(inside, spec.volumes, uid)
        if spec.agent is None:
            return None
        from agents.executor import jar_cache, jenkins_agent

        owner = -1 if uid is None else uid
        try:
            secret = jenkins_agent.provide(
                spec, self._slot.name, self._place.sandbox, owner, owner, self._control.listen
            )
        except jar_cache.JarError as error:
            raise FurnishError("connect", str(error)) from error
        except service_files.MountError as error:
            raise FurnishError("infrastructure", str(error)) from error
        return os.path.join(self._place.sandbox, workspace.JAR), secret

    def _started_by(
        self, root: str, agent: tuple[str, str] | None, jvm_sees_limit: bool
    ) -> tuple[list[str], dict[str, str]]:
        """The command and its environment. ``root``: the sandbox as the build sees it; ``agent``: jar and secret so."""
        spec = self._spec
        within, home = root + "/workspace", root + "/home"
        made = environment.of_build(spec, within, home, jvm_sees_limit)
        if spec.agent is not None and agent is not None:
            from agents.executor import jenkins_agent

            if not spec.command:
                command = jenkins_agent.command(spec.agent, *agent, within, home, spec.mem_mib)
                return ["/bin/sh", "-c", ONE_STREAM, *command], made  # the shell looks for java
            made = {**jenkins_agent.environment(spec.agent, *agent), **made}
        elif spec.image is not None and not spec.command:
            return [], made
        script = "%s/%s" % (root, workspace.SCRIPT)
        return [script] if spec.command.startswith("#!") else ["/bin/sh", script], made

    def _as_processes(self, limits: Limits) -> BuildResult:
        ended = self._stand_by()
        if ended is not None:
            return ended
        agent = self._furnish(linked=True)
        if agent is not None:
            agent = self._place.within(workspace.JAR), agent[1]
        command, made = self._started_by(self._place.root, agent, limits.jvm_sees_limit)
        body = ProcessBody(limits, self._place)
        body.start(command, made)
        watch = self._watch(body)
        body.close()
        if body.start_error:
            self._log.note("the command cannot be executed: " + body.start_error)
        return self._judged(watch, body)

    def _in_container(self) -> BuildResult:
        from agents.executor import docker_body

        spec, inside = self._spec, docker_body.INSIDE
        body = docker_body.DockerBody(
            spec.host.docker_socket, self._slot.name, self._wanted, self._place, self._control.listen
        )
        try:
            body.provide(spec.image)
            ended = self._stand_by()
            if ended is not None:
                return ended
            agent, files = self._furnish(linked=False), []
            if agent is not None:
                shown = "%s/%s" % (inside, workspace.JAR), inside + "/secret"
                agent, files = shown, list(zip(agent, shown))
            command, made = self._started_by(inside, agent, jvm_sees_limit=True)
            if command[:1] == ["/bin/sh"] or spec.image is None:
                # The engine passes on two streams but not their order: made one where there is a shell to do it.
                command = ["/bin/sh", "-c", ONE_STREAM, *command]
            network = spec.network or spec.host.docker_network
            mounts = furnishing.mounts(spec.volumes, inside + "/workspace")
            body.start(command, made, network, files, mounts, spec.user)
            watch = self._watch(body)
            return self._judged(watch, body)
        except docker_body.ImageError as error:
            return BuildResult("image", self._log.mask(str(error)))
        finally:
            body.close()

    def _tell_running(self) -> None:
        if not self._running:
            self._running = True
            told = {"started": os.getpid(), "name": self._slot.name, "isolation": self._slot.mode}
            _report(self._report_fd, told)

    def _watch(self, body: supervision.Body) -> supervision.Supervision:
        self._tell_running()
        spec = self._spec
        watch = supervision.Supervision(body, self._log, self._control, self._wake, self._readiness(body))
        timeout = "timeout", "over its time of %g s" % spec.timeout_s
        # A container beside the one that builds has as long as that takes.
        deadline_s = float("inf") if spec.container else self._started_s + spec.timeout_s
        watch.run(deadline_s, timeout, spec.grace_s, self._meter, spec.disk_mib)
        self._usage = body.usage()
        return watch

    def _readiness(self, body: supervision.Body) -> Callable[[select.poll], Readiness] | None:
        if self._spec.ready is None:
            return None
        from agents.executor.readiness import Readiness

        told = partial(_report, self._report_fd, {"ready": True})
        return partial(Readiness, self._spec.ready, body, told, self._log.last_line)

    def _judged(self, watch: supervision.Supervision, body: supervision.Body) -> BuildResult:
        verdict = watch.verdict
        if verdict is None:
            last = body.check(time.monotonic())
            verdict = last if last is not None and last[0] == "oom" else None
        if verdict is not None and verdict[0] == "oom":
            verdict = oom_verdict(self._usage.peak_mem_mib, self._spec.mem_mib)  # by now the peak is known for good
        if verdict is None and body.exit_code == 0:
            verdict = "passed", "exit code 0"
        if verdict is None:
            verdict = body.hindsight()
        if verdict is None:
            told = "exit code %s" % body.exit_code if body.signal is None else "killed by signal %d" % body.signal
            if self._spec.container and self._log.last_line():
                told += ": " + self._log.last_line()
            verdict = "failed", told
            if self._spec.agent is not None:
                from agents.executor import jenkins_agent

                verdict = jenkins_agent.ended(body.exit_code, body.signal, self._log.last_line())
        return self._result(verdict, body.exit_code, body.signal, watch.leftovers)

    def _result(self, verdict: Verdict, exit_code: int | None, number: int | None, leftovers: int) -> BuildResult:
        peak, cpu = self._usage.peak_mem_mib, self._usage.cpu_s
        return BuildResult(
            verdict[0],
            verdict[1],
            exit_code=exit_code,
            signal=number,
            cpu_s=None if cpu is None else round(cpu, 3),
            peak_mem_mib=None if peak is None else round(peak, 1),
            leftover_processes=leftovers,
        )

    def _keep_artifacts(self, result: BuildResult) -> None:
        from agents.executor import artifacts

        source = os.path.join(self._place.sandbox, "workspace")
        target = os.path.join(self._place.sandbox, "artifacts")
        result.artifacts, note = artifacts.keep(source, target, self._spec.artifacts, self._slot.uid)
        if note:
            self._log.note(note)

    def _remove_groups(self, limits: Limits) -> None:
        deadline_s = time.monotonic() + REMOVE_GROUP_TIMEOUT_S
        while not limits.remove():
            if time.monotonic() > deadline_s:
                print("butlery: a cgroup of %s is left" % self._slot.name, file=sys.stderr)  # noqa: T201
                return
            limits.kill()
            time.sleep(0.01)


def _takes_engine(spec: BuildSpec) -> str:
    """What of the spec only a Docker container can hold; empty where processes can."""
    if spec.image is not None:
        return "image %s" % spec.image
    if spec.user is not None:
        return "user %s" % spec.user
    if spec.network not in (None, "host"):
        return "network %s" % spec.network
    return furnishing.unlinkable(spec.volumes)
