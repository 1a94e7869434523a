"""The master's own pages: status, login, crumbs, the script console, stopping, agent.jar, backups."""

from __future__ import annotations

import asyncio
import email.utils
import html
import json
import os
import signal

from tests.fakes.jenkins import console, jar, kinds_master, pages
from tests.fakes.jenkins.backups import Backups
from tests.fakes.jenkins.http import Response
from tests.fakes.jenkins.routing import Call, Routes
from tests.fakes.jenkins.scripts import described

routes = Routes()

_JARS = {"agent.jar", "slave.jar", "remoting.jar"}
_STOP_AFTER_S = 0.1  # so that the answer gets out first


@routes.any("/")
def dashboard(call: Call) -> Response:
    jobs = "".join(f'<li><a href="{job.url}">{html.escape(job.name)}</a></li>' for job in call.master.jobs.values())
    user = html.escape(call.caller.user or "anonymous")
    return call.pages.page("Dashboard", f"<h1>Jenkins (a stand-in)</h1><p>{user}</p><ul>{jobs}</ul>")


@routes.any("/api/json")
def status(call: Call) -> Response:
    return call.shown(kinds_master.MASTER)


@routes.any("/overallLoad/api/json")
def load(call: Call) -> Response:
    return call.shown(kinds_master.LOAD)


@routes.any("/whoAmI/api/json")
def who_am_i(call: Call) -> Response:
    return call.shown(kinds_master.WHO_AM_I, call.caller.user)


@routes.any("/crumbIssuer/api/json")
def crumb(call: Call) -> Response:
    return call.shown(kinds_master.CRUMB, call.security.crumb(call.caller))


@routes.any("/login")
def login(call: Call) -> Response:
    origin = html.escape(call.request.query.get("from", "/"))
    form = (
        f'<form method="post" action="j_spring_security_check"><input type="hidden" name="from" value="{origin}"/>'
        f'<input type="hidden" name="Jenkins-Crumb" value="{call.security.crumb(call.caller)}"/>'
        '<input name="j_username"/><input name="j_password" type="password"/><button>Sign in</button></form>'
    )
    return call.pages.page("Sign in", f"<h1>Sign in to Jenkins</h1>{form}")


@routes.post("/j_spring_security_check")
def log_in(call: Call) -> Response:
    form = call.request.form()
    session = call.security.log_in(form.get("j_username", ""), form.get("j_password", ""))
    if session is None:
        return pages.redirect(call.address + "loginError")
    session.fresh = False
    origin = form.get("from", "/").lstrip("/")
    answer = pages.redirect(call.address + origin.removeprefix(call.master.options.prefix.lstrip("/")).lstrip("/"))
    answer.headers.append(("Set-Cookie", call.security.cookie(session, call.master.options.prefix)))
    return answer


@routes.any("/loginError")
def login_error(call: Call) -> Response:
    return call.pages.page("Sign in", "<p>Invalid username or password</p>")


@routes.any("/tcpSlaveAgentListener")
def listener(call: Call) -> Response:
    if call.master.agent_port < 0:
        return call.not_found()
    port = str(call.master.agent_port)
    return pages.text("\n\n\n  Jenkins\n", chunked=True, headers=[
        ("X-Hudson-JNLP-Port", port),
        ("X-Jenkins-JNLP-Port", port),
        ("X-Jenkins-Agent-Protocols", "JNLP4-connect, Ping"),
        ("X-Remoting-Minimum-Version", "4.13"),
    ])  # fmt: skip


@routes.any("/jnlpJars/{name}")
async def jars(call: Call, name: str) -> Response:
    if name not in _JARS:
        return call.not_found()
    path = await asyncio.to_thread(jar.agent_jar)
    made = email.utils.formatdate(path.stat().st_mtime, usegmt=True)
    answer = Response(200, await asyncio.to_thread(path.read_bytes), [
        ("Content-Disposition", f"attachment; filename={name}"),
        ("Last-Modified", made),
        ("Expires", made),
        ("Accept-Ranges", "bytes"),
        ("Content-Type", "application/java-archive"),
    ])  # fmt: skip
    if call.request.method != "HEAD":
        answer.headers.append(("Vary", "Accept-Encoding"))
    return answer


@routes.post("/scriptText")
def script(call: Call) -> Response:
    if "script" not in call.request.form():
        return call.pages.error(400, "Nothing is submitted")
    return pages.text(console.run(call.request.form()["script"], call.master.queue) + "\n", chunked=True)


@routes.post("/quietDown")
def quiet_down(call: Call) -> Response:
    call.master.quiet_down(on=True)
    return pages.redirect(call.address)


@routes.post("/cancelQuietDown")
def cancel_quiet_down(call: Call) -> Response:
    call.master.quiet_down(on=False)
    return pages.redirect(call.address)


@routes.post("/exit")
def leave(call: Call) -> Response:
    _signal_later()
    return pages.text("Shutting down\n")


@routes.post("/safeExit")
def safe_exit(call: Call) -> Response:
    call.master.quiet_down(on=True)
    call.master.when_idle(_signal_later)
    return pages.text("Shutting down as soon as all jobs are complete\n")


@routes.post("/restart")
def restart(call: Call) -> Response:
    call.master.restarting = True
    _signal_later()
    return pages.redirect(call.address)


@routes.post("/safeRestart")
def safe_restart(call: Call) -> Response:
    call.master.restarting = True
    call.master.quiet_down(on=True)
    call.master.when_idle(_signal_later)
    return pages.redirect(call.address)


def _signal_later() -> None:
    asyncio.get_running_loop().call_later(_STOP_AFTER_S, os.kill, os.getpid(), signal.SIGTERM)


def add_backups(backups: Backups) -> None:
    """What the image's init scripts add to Jenkins."""

    @routes.post("/butlery/backup")
    def backup(call: Call) -> Response:
        fault = backups.start(call.request.form().get("name", ""))
        if fault is not None:
            return pages.jetty_error(fault.status, fault.message, call.request.path)
        return Response(202)

    @routes.any("/butlery/backups")
    async def listed(call: Call) -> Response:
        return pages.text(json.dumps(await backups.listed()))


@routes.any("/butlery/queue")
def own_queue(call: Call) -> Response:
    master = call.master
    if not master.scripts.there:
        return call.not_found()
    items = [
        described(item) | {"buildable": master.scripts.waits(item)}
        for item in master.queue.listed()
        if not item.flyweight
    ]
    nodes = [
        {
            "name": name,
            "description": node.definition.description,
            "offline": node.offline,
            "idle": all(one.running is None for one in node.executors),
        }
        for name, node in sorted(master.nodes.items())
        if name.startswith("butlery-")
    ]
    return pages.text(json.dumps({"session": master.session, "items": items, "nodes": nodes}))


@routes.post("/butlery/tell")
def tell(call: Call) -> Response:
    form = call.request.form()
    if not call.master.tell_build(form.get("node", ""), form.get("reason", ""), form.get("resubmit") == "true"):
        return pages.jetty_error(404, "no build of this node is known", call.request.path)
    return pages.text("")
