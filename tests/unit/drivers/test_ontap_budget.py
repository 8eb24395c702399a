"""How many requests to ONTAP each verb takes, when nothing fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from chalicelib.drivers.ontap import OntapDriver
from tests.ontap.driver_fixture import driver
from tests.ontap.server import Double
from tests.unit.drivers.ontap import HOST, OTHER, SLOW, double, identity, snapshot, volume

__all__ = ['double', 'identity']

HERE, THERE = {'initiator': HOST}, {'initiator': OTHER}

#: Verb -> requests. Making and growing take what an appliance may take (4); a path takes more the first time that a
#: host is seen, one of them in case its account is being removed as idle. A worker's target and portals are known: two
#: requests, once in five minutes.
BUDGET = {
    'create': 1,
    'create again': 2,
    'create with QoS': 2,
    'snapshot': 1,
    'clone': 1,
    'clone, larger': 2,
    'copy to another FlexVol': 3,
    'extend': 2,
    'attach': 3,
    'attach again': 1,
    'attach to a new host': 7,
    'detach': 4,
    'open': 4,
    'close': 4,
    'delete': 2,
    'delete, mapped': 3,
}


class Bench:
    """Verbs by their names in the table, each on volumes made for it."""

    def __init__(self, double: Double) -> None:
        self.double = double
        self.ours: OntapDriver = driver(double)
        self.source = volume()
        self.ours.create_volume(self.source)
        self.ours._target()
        self.ours.initialize_connection(self.source, HERE, 'known')

    def made(self, *exports: str) -> Any:
        made = volume()
        self.ours.create_volume(made)
        for export in exports:
            self.ours.initialize_connection(made, HERE, export)
        return made

    def verbs(self) -> dict[str, Callable[[], Any]]:
        ours, source = self.ours, self.source
        again, bare, attached, mapped, read = self.made(), self.made(), self.made('e'), self.made('e'), self.made()
        ours.open_volume(read, 'r', 'rw')
        return {
            'create': lambda: ours.create_volume(volume()),
            'create again': lambda: ours.create_volume(again),
            'create with QoS': lambda: ours.create_volume(volume(qos_specs={'maxIOPS': '1'})),
            'snapshot': lambda: ours.create_snapshot(snapshot(source)),
            'clone': lambda: ours.create_cloned_volume(volume(), source),
            'clone, larger': lambda: ours.create_cloned_volume(volume(3), source),
            'copy to another FlexVol': lambda: ours.create_cloned_volume(volume(3, SLOW), source),
            'extend': lambda: ours.extend_volume(again, 2),
            'attach': lambda: ours.initialize_connection(bare, HERE, 'e'),
            'attach again': lambda: ours.initialize_connection(bare, HERE, 'e'),
            'attach to a new host': lambda: ours.initialize_connection(again, THERE, 'e'),
            'detach': lambda: ours.terminate_connection(attached, 'e'),
            'open': lambda: ours.open_volume(again, 'w', 'rw'),
            'close': lambda: ours.close_volume(read, 'r'),
            'delete': lambda: ours.delete_volume(attached),
            'delete, mapped': lambda: ours.delete_volume(mapped),
        }


def test_no_verb_takes_more_requests_than_its_budget(double: Double, capsys: pytest.CaptureFixture[str]) -> None:
    counted: dict[str, int] = {}
    for name, verb in Bench(double).verbs().items():
        double.calls.clear()
        verb()
        counted[name] = len(double.calls)
    with capsys.disabled():
        print('\n' + '\n'.join(f'  ontap {name:26} {count:2}' for name, count in counted.items()))
    assert counted == BUDGET
