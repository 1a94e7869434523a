"""Which template serves which label, for whom, changed how far; and what a tenant is told where none does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.catalog.matching import Catalog, Chosen, NoTemplate
from framework.core.events import TemplateLimits
from framework.core.ids import TenantName
from framework.core.labels import parse
from tests.fakes.templates import catalog_of

RED, BLUE = TenantName("red"), TenantName("blue")
CATALOG = catalog_of(
    maven={
        "labels": ["maven", "java", "linux"],
        "image": "maven:3.9",
        "cpus": 2,
        "mem_mib": 2048,
        "overrides": {"images": ["maven:*", "registry.example/**"], "cpus_max": 4, "mem_mib_max": 8192},
    },
    java={"labels": ["java", "linux", "jdk-17"], "cpus": 1, "max_agents": 5},
    gpu={"labels": ["linux", "gpu"], "gpus": 1, "cpus": 0.5, "overrides": {"timeout_s_max": 7200}},
    plain={"default": True, "cpus": 1, "mem_mib": 512, "overrides": {"cpus_max": 2}},
    windows={"tenants": ["blue"], "max_agents_per_tenant": 2},
)


def chosen(label: str | None, tenant: TenantName | None = RED) -> Chosen:
    found = CATALOG.match(label, tenant)
    assert isinstance(found, Chosen), found
    return found


def reason(label: str | None, tenant: TenantName = RED, catalog: Catalog = CATALOG) -> str:
    found = catalog.match(label, tenant)
    assert isinstance(found, NoTemplate), found
    return found.reason


@pytest.mark.parametrize(
    ("label", "template"),
    [
        ("maven", "maven"),
        ("java", "java"),
        ("java && !jdk-17", "maven"),
        ("linux", "java"),
        ("linux && (gpu || maven)", "maven"),
        ("gpu", "gpu"),
        ("!linux", "plain"),
        ("windows -> java", "plain"),
        ("jdk-17 <-> gpu", "plain"),
        ('"plain"', "plain"),
        (None, "plain"),
        (" ", "plain"),
    ],
)
def test_of_those_that_a_label_suits_the_one_that_asks_for_least_is_taken(label: str | None, template: str) -> None:
    assert chosen(label).template.name == template


def test_a_template_may_be_for_some_tenants_alone() -> None:
    assert chosen("windows", BLUE).template.name == chosen("windows", None).template.name == "windows"
    assert reason("windows") == "no template is for `windows`; known are gpu, java, jdk-17, linux, maven, plain"


def test_a_label_changes_its_agent_within_bounds() -> None:
    found = chosen("maven && cpus=3.5 && mem_mib=4096 && image=maven:4")
    assert (found.settings.cpus, found.settings.mem_mib, found.settings.image) == (3.5, 4096, "maven:4")
    assert found.node_labels == "maven java linux cpus=3.5 mem_mib=4096 image=maven:4"
    other = chosen("image=maven:4 && mem_mib=4096 && maven && cpus=3.5")
    assert found.version == other.version != found.template.version
    assert found.version.startswith(f"{found.template.version}+")
    assert parse("maven && cpus=3.5 && mem_mib=4096 && image=maven:4").matches(set(found.node_labels.split()))


def test_a_change_is_made_only_where_the_label_is_not_served_without() -> None:
    assert chosen("maven || cpus=4").atoms == ()
    assert chosen("maven && !cpus=4").atoms == ()
    assert chosen("maven && (cpus=4 || mem_mib=99)").atoms == ("cpus=4",)
    assert chosen("maven && (cpus=9 || mem_mib=99)").atoms == ("mem_mib=99",)
    assert chosen("timeout_s=60 && gpu").settings.timeout_s == 60


def test_changes_alone_are_of_the_template_for_builds_without_a_label() -> None:
    assert (chosen("cpus=2").template.name, chosen("cpus=2").settings.cpus) == ("plain", 2)
    assert chosen("cpus=4").template.name == "maven"


@pytest.mark.parametrize(
    ("label", "told"),
    [
        ("maven && cpus=5", "the template maven takes no cpus=5: from 0.01 to 4 can be asked for: ask for what it"),
        ("maven && mem_mib=8", "the template maven takes no mem_mib=8: from 16 to 8192 can"),
        ("maven && mem_mib=1.5", "takes no mem_mib=1.5: it must be a whole number"),
        ("maven && cpus=many", "takes no cpus=many: it must be a number"),
        ("maven && disk_mib=1", "the template maven lets no job change disk_mib (overrides.disk_mib_max is not set)"),
        ("java && !maven && image=x", "the template java lets no job change its image (overrides.images is empty)"),
        ("maven && image=evil", "takes no image=evil: it takes maven:*, registry.example/**"),
        ("maven && image=maven:3/x", "takes no image=maven:3/x"),
        ("maven && image=-v", "it is no image's name"),
        ("mavn", "no template is for `mavn`; the nearest are maven; known are gpu, java"),
        ("gpu && windows", "no template is for `gpu&&windows`; known are gpu"),
        ("a && ", "`a && ` is no label expression: at its end a label is missing; write it as Jenkins takes it"),
        ('"maven linux"', "`maven linux` is one name with blanks in it"),
        ("maven && cpus=1 && cpus=2", "`maven&&cpus=1&&cpus=2` asks for cpus more than once"),
        ("x" * 9000, "it has more than 4096 characters"),
        ("a\nb", "'a\\nb' is one name with blanks in it"),
    ],
)
def test_what_no_template_serves_is_told_with_what_would_help(label: str, told: str) -> None:
    assert told in reason(label)
    assert len(reason(label)) < 500


def test_a_tenant_is_told_nothing_of_templates_that_are_not_for_it() -> None:
    assert "windows" not in reason("windws")
    assert "windows" not in reason("gpu && windws && cpus=1")
    assert "windows" in reason("windws", BLUE)


def test_without_a_template_for_them_builds_that_name_no_label_are_told_so() -> None:
    catalog = catalog_of(maven={})
    assert reason(None, RED, catalog) == "it names no label, and no template is for such builds; known are maven"
    assert reason("maven && x", RED, Catalog([])) == "no template is for `maven&&x`; there are no templates"


def test_limits_and_versions_are_those_of_templates_that_serve() -> None:
    assert CATALOG.limits == {"java": TemplateLimits(5, None), "windows": TemplateLimits(None, 2)}
    assert CATALOG.versions.keys() == {"maven", "java", "gpu", "plain", "windows"}


_labels = st.recursive(
    st.sampled_from(
        ["maven", "java", "linux", "gpu", "windows", "cpus=2", "cpus=4", "mem_mib=99", "image=maven:1", "x"]
    ),
    lambda inner: st.one_of(
        inner.map("({})".format),
        inner.map("!({})".format),
        st.tuples(inner, st.sampled_from(["&&", "||", "<->"]), inner).map("".join),
    ),
    max_leaves=8,
)


@given(_labels, st.sampled_from([RED, BLUE]))
def test_jenkins_would_give_the_build_the_node_that_is_made_for_it(label: str, tenant: TenantName) -> None:
    found = CATALOG.match(label, tenant)
    if isinstance(found, Chosen):
        assert parse(label).matches(set(found.node_labels.split()))
        assert found.template.serves(tenant)
        bounds = found.template.settings.overrides
        for atom in found.atoms:
            name, _, value = atom.partition("=")
            assert name == "image" or float(value) <= getattr(bounds, f"{name}_max")
    else:
        plain = [one for one in CATALOG.templates.values() if one.serves(tenant)]
        repeats = "more than once" in found.reason
        assert repeats or not any(parse(label).matches(set(one.labels)) for one in plain)
        assert found.reason


def test_hundreds_of_templates_serve_thousands_of_tenants() -> None:
    tenants = [f"team-{index}" for index in range(2000)]
    catalog = catalog_of(
        **{
            f"t{index}": {"labels": [f"l{index}", "linux"], "tenants": tenants, "overrides": {"cpus_max": 8}}
            for index in range(300)
        }
    )
    for index, tenant in enumerate(tenants):
        assert isinstance(catalog.match(f"l{index % 300} && linux && cpus=2", TenantName(tenant)), Chosen)
