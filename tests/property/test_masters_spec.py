"""What holds of every tenant that is read, whatever its numbers and its defaults."""

import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from framework.documents import Document, check
from masters.spec.files import _over
from masters.spec.jvm import JvmPlan, memory_plan
from masters.spec.model import JvmSpec

jvms = st.fixed_dictionaries(
    {},
    optional={
        "heap_percent": st.integers(1, 95),
        "metaspace_mib": st.integers(32, 1024),
        "code_cache_mib": st.integers(16, 512),
        "threads": st.integers(10, 2000),
        "stack_kib": st.integers(192, 2048),
        "children_mib": st.integers(0, 2048),
        "options": st.sampled_from(([], ["-XX:+UseSerialGC"], ["-XX:+UseParallelGC"])),
    },
)
values = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3) | st.lists(inner, max_size=2),
    max_leaves=10,
)
mappings = st.dictionaries(st.sampled_from("abc"), values, max_size=3)


def planned(mem_mib: int, given_jvm: dict[str, Any]) -> JvmPlan | str:
    try:
        return memory_plan(mem_mib, check(Document("", given_jvm, {}), JvmSpec))
    except ValueError as error:
        return str(error)


@given(st.integers(64, 1 << 20), jvms)
def test_a_plan_fits_or_the_share_that_would_is_told(mem_mib: int, given_jvm: dict[str, Any]) -> None:
    made = planned(mem_mib, given_jvm)
    if isinstance(made, JvmPlan):
        assert made.total_mib <= mem_mib
        assert sum("GC" in option for option in made.options) == 1
    elif found := re.search(r"a heap_percent of (\d+) would fit", made):
        assert isinstance(planned(mem_mib, given_jvm | {"heap_percent": int(found[1])}), JvmPlan), made


@given(mappings, mappings)
def test_what_a_tenant_says_itself_goes_before_the_defaults(beneath: dict[str, Any], own: dict[str, Any]) -> None:
    whole = _over(beneath, own)
    taken_away = {key for key, value in own.items() if value is None and key in beneath}
    assert set(whole) == (set(beneath) | set(own)) - taken_away
    for key, value in whole.items():
        if key not in own:
            assert value == beneath[key]
        elif isinstance(own[key], dict) and isinstance(beneath.get(key), dict):
            assert value == _over(beneath[key], own[key])
        else:
            assert value == own[key]
