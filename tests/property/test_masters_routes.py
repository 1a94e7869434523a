"""Maps of HAProxy: whatever they hold, the commands make them what they are to be, in an order that loses nobody."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from masters.ingress.routes import assigned_ports, commands

KEYS = st.sampled_from(["a", "b", "c", "/d", "e.example/f"])
VALUES = st.sampled_from(["1", "2", "3"])
NAMES = st.sets(st.sampled_from([f"t{number}" for number in range(30)]))


class Map:
    """As HAProxy keeps one: a key may be there twice, and lookups find the first."""

    def __init__(self, entries: list[tuple[str, str]]) -> None:
        self.entries = list(entries)

    def do(self, command: str) -> None:
        verb, _map, _name, key, *value = command.split(" ")
        if verb == "add":
            self.entries.append((key, value[0]))
            return
        assert key in {known for known, _ in self.entries}, "HAProxy refuses to change what is not there"
        if verb == "set":
            self.entries = [(known, value[0] if known == key else old) for known, old in self.entries]
        else:
            self.entries = [entry for entry in self.entries if entry[0] != key]


@given(st.lists(st.tuples(KEYS, VALUES), max_size=8), st.dictionaries(KEYS, VALUES))
def test_commands_make_the_map_what_it_is_to_be(before: list[tuple[str, str]], after: dict[str, str]) -> None:
    made = Map(before)
    stay = {key for key, value in after.items() if [old for known, old in before if known == key] == [value]}
    for command in commands("m", before, after):
        made.do(command)
        assert stay <= {key for key, _ in made.entries}
    assert sorted(made.entries) == sorted(after.items())
    assert commands("m", made.entries, after) == []


@given(NAMES, NAMES, st.integers(min_value=1, max_value=40))
def test_agents_keep_their_ports_and_share_none(first: set[str], then: set[str], count: int) -> None:
    ports = (50_000, 50_000 + count - 1)
    before = assigned_ports(first, ports, {})
    after = assigned_ports(then, ports, before)
    assert len(set(after.values())) == len(after) == min(len(then), count)
    assert all(ports[0] <= port <= ports[1] for port in after.values())
    assert all(after[name] == port for name, port in before.items() if name in then)
