"""What a template has of others, and every fault of it at its place."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from framework.catalog.inheritance import MAX_STEPS, SECTION, merge
from framework.documents import Document
from tests.unit.catalog.conftest import Read

Faults = Callable[..., list[str]]

BASE = """
templates:
  base:
    labels: [base]
    image: debian:12
    cpus: 2
    env: {A: "1", B: "2"}
    jvm_options: [-Xmx1g, -Xss1m]
    volumes: [{path: /cache, source: /srv/cache}, {path: /tools, source: tools, read_only: true}]
    containers:
      - {name: db, image: "postgres:16", mem_mib: 256, env: {PGDATA: /data}, ready: {port: 5432}}
      - {name: web, command: serve}
    spares: 3
"""


def test_mappings_are_merged_lists_replaced_and_null_takes_away(read: Read) -> None:
    catalog = read(
        BASE
        + """
  child:
    inherit_from: base
    image: null
    env: {B: null, C: "3"}
    jvm_options: [-Xmx2g]
    volumes: [{path: /cache, read_only: true}, {path: /tools, remove: true}]
    containers: [{name: db, mem_mib: 512, env: {PGDATA: null}, ready: null}, {name: redis, image: "redis:7"}]
"""
    )
    child = catalog.templates["child"].settings
    assert (child.image, child.cpus, child.env, child.jvm_options) == (None, 2, {"A": "1", "C": "3"}, ["-Xmx2g"])
    assert [(one.path, one.source, one.read_only) for one in child.volumes] == [("/cache", "/srv/cache", True)]
    assert [one.name for one in child.containers] == ["db", "web", "redis"]
    assert (child.containers[0].image, child.containers[0].mem_mib) == ("postgres:16", 512)
    assert (child.containers[0].env, child.containers[0].ready) == ({}, None)


def test_what_is_a_templates_own_is_not_inherited(read: Read) -> None:
    catalog = read(BASE + "  none: {inherit_from: base, abstract: true}\n  child: {inherit_from: none}\n")
    child = catalog.templates["child"]
    assert (child.labels, child.settings.abstract, child.settings.spares) == (("child",), False, 0)
    assert catalog.templates["none"].labels == ()
    assert list(catalog.versions) == ["base", "child"]


def test_of_a_diamond_each_ancestor_counts_once(read: Read) -> None:
    catalog = read(
        """
        templates:
          top: {cpus: 1, mem_mib: 100, disk_mib: 1}
          left: {inherit_from: top, cpus: 2, disk_mib: 2}
          right: {inherit_from: [top], mem_mib: 300, disk_mib: 3}
          both: {inherit_from: [left, right]}
        """
    )
    both = catalog.templates["both"].settings
    assert (both.cpus, both.mem_mib, both.disk_mib) == (2, 300, 3)


def test_templates_inherit_across_files(read: Read) -> None:
    catalog = read("templates: {base: {cpus: 4}}", java="templates: {java: {inherit_from: base}}")
    assert catalog.templates["java"].settings.cpus == 4


def test_a_version_is_of_what_agents_are_made_of_alone(read: Read) -> None:
    one = read("templates: {a: {cpus: 2}, b: {inherit_from: a}}").versions
    other = read("templates:\n  b: {cpus: 2.0}\n  a:\n    inherit_from: []\n    cpus: 2\n").versions
    changed = read("templates: {a: {cpus: 2, mem_mib: 99}, b: {inherit_from: a}}").versions
    more = read("templates: {a: {cpus: 2, spares: 3, max_agents: 9, tenants: [x], overrides: {cpus_max: 4}}}").versions
    assert one["a"] == one["b"] == other["a"] == other["b"] == more["a"] and len(one["a"]) == 12
    assert changed["a"] != one["a"] and changed["b"] != one["b"]


def test_circles_and_strangers_are_told_with_all_else(faults: Faults) -> None:
    assert faults(
        """
        templates:
          a: {inherit_from: b}
          b: {inherit_from: [c], cpus: many}
          c: {inherit_from: a}
          d: {inherit_from: d}
          maven: {inherit_from: mavn}
          java: {inherit_from: [maven, gradle]}
          mavens: {}
        """,
        more="templates: {maven: {}, e: {imag: x}}\nother: 1",
    ) == [
        "templates/more.yaml:2 other: unknown key: a file of templates holds templates alone",
        "templates/more.yaml:1 templates.maven: stands twice; first at butlery.yaml:7 templates.maven",
        "butlery.yaml:5 templates.c.inherit_from: makes a circle: a -> b -> c -> a",
        "butlery.yaml:6 templates.d.inherit_from: makes a circle: d -> d",
        "butlery.yaml:7 templates.maven.inherit_from: there is no template mavn; the nearest is mavens",
        "butlery.yaml:8 templates.java.inherit_from[1]: there is no template gradle",
        "butlery.yaml:4 templates.b.cpus: must be a number, not 'many'",
        "templates/more.yaml:1 templates.e.imag: unknown key; the nearest known one is `image`",
    ]


def test_an_ancestors_fault_is_told_once_and_at_its_place(faults: Faults) -> None:
    assert faults(
        """
        templates:
          base: {cpus: 0}
          one: {inherit_from: base}
          two: {inherit_from: one, user: root}
        """
    ) == [
        "butlery.yaml:3 templates.base.cpus: must be at least 0.01, not 0",
        "butlery.yaml:5 templates.two.user: must be USER, UID or UID:GID, and not root, not 'root'",
    ]


def test_what_is_named_twice_or_removed_in_vain(faults: Faults) -> None:
    assert faults(
        BASE
        + """
  child:
    inherit_from: base
    containers: [{name: db}, {name: db}, {name: mq, remove: true}]
    volumes: [{source: /x}]
"""
    ) == [
        "butlery.yaml:17 templates.child.containers[1]: stands twice: another has the name db too",
        "butlery.yaml:17 templates.child.containers[2]: has nothing to remove: none with the name mq is inherited",
        "butlery.yaml:18 templates.child.volumes[2].path: is missing",
    ]


def test_what_contradicts_itself(faults: Faults) -> None:
    found = faults(
        """
        templates:
          a: {tunnel: "proxy:50000"}
          b: {spares: 1, lifetime: pooled}
          c: {user: builder}
          d: {cpus: 4, overrides: {cpus_max: 2}}
          e: {containers: [{name: db}]}
          f: {containers: [{name: db, image: x, ready: {}}]}
          g: {volumes: [{path: /a/../b, source: /c}]}
          h: {default: true}
          i: {default: true}
          j: {labels: [cpus=2]}
          k: {abstract: true, default: true}
          "k k": {}
          l: 1
        """
    )
    words = [
        "k k: a template's name must be up to 100 letters",
        "l: must be a mapping of keys",
        "a: tunnel is of agents that come by TCP",
        "b: spares serve any tenant",
        "c: user and network are of an image's container",
        "d: overrides.cpus_max is less than the template's own cpus",
        "e.containers[0]: give image, command, or both",
        "f.containers[0].ready: give exactly one of command and port",
        "g.volumes[0].path: must be a path without `..`",
        "j.labels[0]: must be a label",
        "k: abstract serves nobody",
        "i.default: is true for h too",
    ]
    assert len(found) == len(words)
    for fault, expected in zip(found, words, strict=True):
        assert expected in fault


def test_a_long_line_of_ancestors_is_refused_whatever_its_order(faults: Faults) -> None:
    names = [f"t{index}" for index in range(MAX_STEPS * 4)]
    lines = [f"  {name}: {{inherit_from: {above}}}" for above, name in zip(["root", *names], names, strict=False)]
    for ordered in (["  root: {}", *lines], [*reversed(lines), "  root: {}"]):
        found = faults("\n".join(["templates:", *ordered]))
        assert all("more than 50 templates inherit" in fault for fault in found)


_values = st.recursive(
    st.one_of(st.none(), st.integers(0, 3)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abc"), inner, max_size=3)),
    max_leaves=6,
)
_parts = st.dictionaries(st.sampled_from(["a", "b", "volumes", "inherit_from"]), _values, max_size=4)


@given(st.dictionaries(st.sampled_from(["x", "y", "z"]), _parts, max_size=3), st.data())
def test_whatever_inherits_from_whatever_the_merge_ends_and_keeps_every_own_key(
    templates: dict[str, dict[str, object]], data: st.DataObject
) -> None:
    for name in templates:
        templates[name]["inherit_from"] = data.draw(st.lists(st.sampled_from(["x", "y", "z", "q"]), max_size=3))
    document = Document("f.yaml", {SECTION: templates}, {})
    merged, _ = merge(dict.fromkeys(templates, document))
    assert merged.keys() == templates.keys()
    for name, own in templates.items():
        whole = merged[name].data[SECTION][name]
        for key, value in own.items():
            assert (key in whole) is (value is not None)
            if value is not None and not isinstance(value, dict | list):
                assert whole[key] == value
