"""Connections of inbound agents, and the shell steps that run over them.

Messages of our own, binary. To the agent: ``R`` id workspace script interpreter variables.. starts a step, ``K`` id
kills it. From it: ``S`` id file (started), ``O`` id output, ``E`` id exit code. Ids and lengths are 4 bytes, big end
first.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

PING_S = 20.0
SILENT_S = 60.0
"""An agent that said nothing for so long, pongs included, is taken for lost."""


class LinkLostError(Exception):
    """The agent went away under a step."""


class Channel(Protocol):
    """A WebSocket, or messages by TCP."""

    async def send(self, message: bytes) -> None: ...
    async def receive(self, within_s: float) -> bytes | None: ...
    def ping(self) -> None: ...
    def close(self) -> None: ...


@dataclass(slots=True)
class _Running:
    ended: asyncio.Future[int]
    started: Callable[[str], None]
    output: Callable[[bytes], None]


@dataclass(slots=True)
class ShellStep:
    """``interpreter`` such as ``/bin/sh -xe``; the agent appends the file that it puts ``script`` into."""

    workspace: str
    script: str
    interpreter: str
    variables: Mapping[str, str]
    started: Callable[[str], None] = field(default=lambda file: None)


class AgentLink:
    """One agent that is connected."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._ids = itertools.count(1)
        self._steps: dict[int, _Running] = {}
        self._lost = False

    async def serve(self) -> None:
        """Until the agent is gone."""
        pinging = asyncio.create_task(self._ping())
        try:
            while (message := await self._channel.receive(SILENT_S)) is not None:
                self._received(message)
        finally:
            self._lost = True
            pinging.cancel()
            self._channel.close()
            for step in self._steps.values():
                if not step.ended.done():
                    step.ended.set_exception(LinkLostError())

    async def _ping(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                await asyncio.sleep(PING_S)
                self._channel.ping()

    def _received(self, message: bytes) -> None:
        kind, number = message[:1], int.from_bytes(message[1:5], "big")
        step = self._steps.get(number)
        if step is None:
            return
        if kind == b"S":
            step.started(message[5:].decode("utf-8", "replace"))
        elif kind == b"O":
            step.output(message[5:])
        elif kind == b"E" and not step.ended.done():
            step.ended.set_result(int.from_bytes(message[5:9], "big", signed=True))

    async def run(self, step: ShellStep, output: Callable[[bytes], None]) -> int:
        """The step's exit code. Raises LinkLostError; a cancelled one is killed."""
        if self._lost:
            raise LinkLostError
        number = next(self._ids)
        running = _Running(asyncio.get_running_loop().create_future(), step.started, output)
        self._steps[number] = running
        fields = [step.workspace, step.script, step.interpreter, *(f"{k}={v}" for k, v in step.variables.items())]
        encoded = (one.encode() for one in fields)
        try:
            await self._channel.send(
                b"R" + struct.pack(">I", number) + b"".join(struct.pack(">I", len(one)) + one for one in encoded)
            )
            return await running.ended
        except OSError as error:
            raise LinkLostError from error
        except asyncio.CancelledError:
            with contextlib.suppress(OSError):
                await self._channel.send(b"K" + struct.pack(">I", number))
            raise
        finally:
            del self._steps[number]

    def close(self) -> None:
        self._channel.close()
