"""Room made for a tenant below its share: in bounded time, up to its share, and never at the cost of another's."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from framework.core.effects import Kill
from framework.core.ids import TenantName
from framework.core.resources import Resources
from framework.core.state import Config
from framework.core.tasks import FailureClass
from tests.unit.core.rig import Rig

HOG, LATE = TenantName("hog"), TenantName("late")
BUILD = Resources(450, 900)
ON_A_HOST = 8
STEP_S = 2.0


class Hogged(Rig):
    """A cluster full of preemptible builds that would last for ever."""

    def __init__(self, hosts: int, weights: tuple[int, int]) -> None:
        super().__init__(hosts, Config(starving_after_s=1e6), Resources(ON_A_HOST * 500, ON_A_HOST * 932))
        self.tenant(HOG, weights[0])
        self.tenant(LATE, weights[1])
        self.wanted = [self.submit(BUILD, HOG, preemptible=True, timeout_s=1e6) for _ in range(ON_A_HOST * hosts)]
        self.offer()
        for request in self.wanted:
            self.update(self.task(request), "TASK_RUNNING")

    def second(self) -> None:
        """What was killed ends, and what is free is offered."""
        self.after(STEP_S)
        for kill in self.effects(Kill):
            self.update(self.state.tasks[kill.task_id], "TASK_KILLED", FailureClass.CANCELLED)
        self.offer()

    def share(self, tenant: TenantName) -> float:
        return self.state.tenants[tenant].share(self.state.total)


@given(st.integers(1, 3), st.tuples(st.integers(1, 400), st.integers(1, 400)), st.integers(1, 24))
def test_invariant_6_a_tenant_gets_its_share_from_builds_that_never_end_and_no_more(
    hosts: int, weights: tuple[int, int], wanting: int
) -> None:
    rig = Hogged(hosts, weights)
    due = {HOG: weights[0] / sum(weights), LATE: weights[1] / sum(weights)}
    had_its_share = rig.share(HOG) >= due[HOG]
    for _ in range(wanting):
        rig.submit(BUILD, LATE, timeout_s=1e6)
    for _ in range(int(rig.config.preempt_after_s / STEP_S) + 2 + 2 * wanting):
        rig.second()
        assert not had_its_share or rig.share(HOG) >= due[HOG]
    one = BUILD.dominant_share(rig.state.total)
    waits = len(rig.state.tenants[LATE].queue)
    assert not waits or rig.share(LATE) >= due[LATE] or rig.share(HOG) - one < due[HOG]
    assert rig.share(LATE) < due[LATE] + one or not waits
