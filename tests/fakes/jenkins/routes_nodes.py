"""Nodes, and the agents that connect to them."""

from __future__ import annotations

import asyncio
import hmac
import secrets
from urllib.parse import quote
from xml.sax.saxutils import escape

from tests.fakes.jenkins import kinds_nodes, pages
from tests.fakes.jenkins.agents import AgentLink
from tests.fakes.jenkins.definitions import DefinitionError, node_from_form, node_xml
from tests.fakes.jenkins.http import Response
from tests.fakes.jenkins.model import Node
from tests.fakes.jenkins.pages import jetty_error
from tests.fakes.jenkins.routes_jobs import unsafe
from tests.fakes.jenkins.routing import Call, Routes
from tests.fakes.jenkins.websocket import WebSocket, accept_key

routes = Routes()

BUILT_IN = "(built-in)"


def _node(call: Call, name: str) -> Node | None:
    return call.master.nodes.get(name)


@routes.any("/computer")
def nodes(call: Call) -> Response:
    names = "".join(f"<li>{escape(name)}</li>" for name in ["Built-In Node", *call.master.nodes])
    return call.pages.page("Nodes", f"<h1>Nodes</h1><ul>{names}</ul>")


@routes.any("/computer/api/json")
def nodes_json(call: Call) -> Response:
    return call.shown(kinds_nodes.COMPUTERS)


@routes.post("/computer/doCreateItem")
def create(call: Call) -> Response:
    form = call.request.form()
    if "json" not in form:
        return jetty_error(400, "This page expects a form submission", call.request.path)
    name = form.get("name", "").strip()
    fault = unsafe(name)
    if fault is None and name in call.master.nodes:
        fault = f"Agent called  {name}  already exists"
    if fault is not None:
        return call.pages.error(400, fault, told=True)
    try:
        call.master.add_node(node_from_form(name, form["json"]))
    except DefinitionError as error:
        return call.pages.error(400, str(error), told=True)
    return pages.redirect(call.address + "computer/")


@routes.any("/computer/{name}/api/json")
def node_json(call: Call, name: str) -> Response:
    if name == BUILT_IN:
        return call.shown(kinds_nodes.MASTER_COMPUTER)
    node = _node(call, name)
    return call.shown(kinds_nodes.COMPUTER, node) if node is not None else call.not_found()


@routes.any("/computer/{name}/config.xml")
def node_config(call: Call, name: str) -> Response:
    node = _node(call, name)
    if node is None:
        return call.not_found()
    return pages.text(node_xml(node.definition), "application/xml", chunked=True)


@routes.any("/computer/{name}/jenkins-agent.jnlp")
@routes.any("/computer/{name}/slave-agent.jnlp")
def jnlp(call: Call, name: str) -> Response:
    node = _node(call, name)
    if node is None:
        return call.not_found()
    definition = node.definition
    arguments = [
        call.master.home.node_secret(name),
        name,
        *(["-webSocket"] if definition.web_socket else []),
        *(["-tunnel", definition.tunnel] if definition.tunnel else []),
        *("-workDir", definition.remote_fs, "-internalDir", definition.internal_dir),
        *("-url", call.root),
    ]
    inner = "".join(f"<argument>{escape(one)}</argument>" for one in arguments)
    page = f"<jnlp><application-desc>{inner}</application-desc></jnlp>"
    return pages.text(page, "application/x-java-jnlp-file", chunked=True)


@routes.post("/computer/{name}/doDelete")
def delete(call: Call, name: str) -> Response:
    node = _node(call, name)
    if node is None:
        return call.not_found()
    call.master.delete_node(node)
    return pages.redirect(call.address + "computer/")


@routes.post("/computer/{name}/toggleOffline")
def toggle_offline(call: Call, name: str) -> Response:
    node = _node(call, name)
    if node is None:
        return call.not_found()
    call.master.toggle_offline(node, call.request.form().get("offlineMessage", ""), call.caller.user)
    return pages.redirect(f"{call.address}computer/{quote(name)}/")


@routes.post("/computer/{name}/doDisconnect")
def disconnect(call: Call, name: str) -> Response:
    node = _node(call, name)
    if node is None:
        return call.not_found()
    if node.link is not None:
        node.link.close()
    return pages.redirect(f"{call.address}computer/{quote(name)}/")


@routes.any("/computer/{name}")
def node_page(call: Call, name: str) -> Response:
    node = _node(call, name)
    if node is None and name != BUILT_IN:
        return call.not_found()
    return call.pages.page(name, f"<h1>{escape(name)}</h1>")


@routes.any("/wsagents")
def web_socket(call: Call) -> Response:
    headers = call.request.headers
    name, secret = headers.get("node-name"), headers.get("secret-key")
    if name is None or secret is None or "x-remoting-capability" not in headers:
        return _refused(call, "This endpoint is only for use from agent.jar in WebSocket mode")
    node = _node(call, name)
    if node is None:
        return _refused(call, "no such agent")
    if not hmac.compare_digest(secret.encode(), call.master.home.node_secret(name).encode()):
        return Response(403)
    if node.link is not None:
        return _refused(call, f"{name} is already connected to this controller. Rejecting this connection.")
    if headers.get("upgrade", "").lower() != "websocket" or "sec-websocket-key" not in headers:
        return _refused(call, "no WebSocket is asked for")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await call.master.serve_agent(node, AgentLink(WebSocket(reader, writer)))

    return Response(
        101,
        headers=[
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", accept_key(headers["sec-websocket-key"])),
            ("X-Remoting-Capability", headers["x-remoting-capability"]),
            ("X-Remoting-Minimum-Version", "4.13"),
            ("Connection-Cookie", secrets.token_hex(16)),
        ],
        upgraded=serve,
    )


def _refused(call: Call, message: str) -> Response:
    return jetty_error(400, message, call.request.path)
