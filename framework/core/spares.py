"""Agents that stand ready before anybody needs them, for requests of the same version of a template, whoever's.

A spare is a task of an ordinary request of ``SPARES``, without a node. It is promised to the request whose turn it is
(``framework.core.promises``); once that one's node stands it is given to it (``framework.core.handover``), and the
spare's own request ends.
"""

from __future__ import annotations

from framework.core.ids import RequestId, TaskId
from framework.core.tasks import SPARES, Request, Task


class Spares:
    """Those that run, and to whom they are promised; bounded by what is live."""

    def __init__(self) -> None:
        self.requests: dict[RequestId, Request] = {}  # live ones
        self.ready: dict[TaskId, str] = {}  # that run, by task: ``Template.kind``
        self.promised: dict[TaskId, RequestId] = {}
        self.promised_to: dict[RequestId, TaskId] = {}
        self.fresh = False  # there is one that nobody has been asked for

    def runs(self, task: Task, request: Request) -> None:
        if task.tenant == SPARES:
            self.ready[task.id] = request.template.kind
            self.fresh = True

    def ended(self, task_id: TaskId) -> None:
        """It is promised to nobody then."""
        self.ready.pop(task_id, None)

    def promise(self, task_id: TaskId, request_id: RequestId) -> None:
        self.promised[task_id] = request_id
        self.promised_to[request_id] = task_id

    def release(self, request_id: RequestId) -> TaskId:
        task_id = self.promised_to.pop(request_id)
        del self.promised[task_id]
        return task_id
