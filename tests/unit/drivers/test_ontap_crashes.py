"""A process may die before or after any request to ONTAP: the verb repeated ends as if nothing had happened."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from chalicelib.drivers.ontap import OntapDriver
from chalicelib.drivers.ontap_client import Client
from tests.ontap.cluster import Cluster
from tests.ontap.disks import NoDisks
from tests.ontap.driver_fixture import driver
from tests.ontap.server import Double
from tests.unit.drivers.ontap import FAST, HOST, SLOW, double, identity, remembered, snapshot, volume

__all__ = ['double', 'identity']

CONNECTOR = {'initiator': HOST}
LIMITED = {'qos_specs': {'maxIOPSperGiB': '100'}}

#: What a verb is tried on: (prepared with, repeated until it ends).
Step = Callable[[OntapDriver], Any]


class Killed(BaseException):
    """The process is gone: nothing that it runs may catch this."""


def create() -> tuple[Step, Step]:
    made = volume(2, **LIMITED)
    return lambda ours: None, lambda ours: ours.create_volume(made)


def clone() -> tuple[Step, Step]:
    source, made = volume(), volume(2, **LIMITED)
    return lambda ours: ours.create_volume(source), lambda ours: ours.create_cloned_volume(made, source)


def copy() -> tuple[Step, Step]:
    source, made = volume(), volume(2, SLOW, **LIMITED)
    return lambda ours: ours.create_volume(source), lambda ours: ours.create_cloned_volume(made, source)


def freeze() -> tuple[Step, Step]:
    source = volume()
    frozen = snapshot(source)
    return lambda ours: ours.create_volume(source), lambda ours: ours.create_snapshot(frozen)


def revert() -> tuple[Step, Step]:
    made = volume()
    frozen, grown = snapshot(made), dataclasses.replace(made, size=3)

    def prepare(ours: OntapDriver) -> None:
        ours.create_volume(made)
        ours.create_snapshot(frozen)
        ours.extend_volume(made, 3)

    return prepare, lambda ours: ours.revert_to_snapshot(grown, frozen)


def extend() -> tuple[Step, Step]:
    made = volume(1, **LIMITED)
    return lambda ours: ours.create_volume(made), lambda ours: ours.extend_volume(made, 3)


def retype() -> tuple[Step, Step]:
    made = volume(1, **LIMITED)
    wanted = dataclasses.replace(made, qos_specs={'maxIOPS': '7'}, extra_specs={'netapp:space_allocation': 'false'})
    return lambda ours: ours.create_volume(made), lambda ours: ours.retype(made, wanted)


def attach() -> tuple[Step, Step]:
    made = volume()
    return lambda ours: ours.create_volume(made), lambda ours: ours.initialize_connection(made, CONNECTOR, 'e')


def detach() -> tuple[Step, Step]:
    made = volume()

    def prepare(ours: OntapDriver) -> None:
        ours.create_volume(made)
        ours.initialize_connection(made, CONNECTOR, 'e')

    return prepare, lambda ours: ours.terminate_connection(made, 'e')


def open_() -> tuple[Step, Step]:
    made = volume()
    return lambda ours: ours.create_volume(made), lambda ours: ours.open_volume(made, 'e', 'rw')


def close() -> tuple[Step, Step]:
    made = volume()

    def prepare(ours: OntapDriver) -> None:
        ours.create_volume(made)
        ours.open_volume(made, 'e', 'rw')

    return prepare, lambda ours: ours.close_volume(made, 'e')


def open_again() -> tuple[Step, Step]:
    """A close that died at some request, and the path is wanted again."""
    made = volume()

    def prepare(ours: OntapDriver) -> None:
        ours.create_volume(made)
        ours.open_volume(made, 'e', 'rw')

    def act(ours: OntapDriver) -> None:
        ours.close_volume(made, 'e')
        ours.open_volume(made, 'e', 'rw')

    return prepare, act


def delete() -> tuple[Step, Step]:
    made = volume(1, **LIMITED)

    def prepare(ours: OntapDriver) -> None:
        ours.create_volume(made)
        ours.initialize_connection(made, CONNECTOR, 'e')
        ours.open_volume(made, 'left', 'rw')

    return prepare, lambda ours: ours.delete_volume(made)


def freeze_group(*hosts: str) -> tuple[Step, Step]:
    sources = [volume(host=host) for host in hosts]
    frozen = [snapshot(one) for one in sources]

    def prepare(ours: OntapDriver) -> None:
        for one in sources:
            ours.create_volume(one)

    return prepare, lambda ours: ours.create_group_snapshot(frozen)


def group() -> tuple[Step, Step]:
    return freeze_group(FAST, FAST)


def group_of_two_flexvols() -> tuple[Step, Step]:
    return freeze_group(FAST, SLOW)


def manage() -> tuple[Step, Step]:
    old, made = volume(), volume(2)

    def prepare(ours: OntapDriver) -> None:
        ours.create_volume(old)
        ours.unmanage(old)

    return prepare, lambda ours: ours.manage_existing(made, {'source-name': f'unmanaged-{old.name}'})


def manage_snapshot() -> tuple[Step, Step]:
    source = volume()
    old, made = snapshot(source), snapshot(source)

    def prepare(ours: OntapDriver) -> None:
        ours.create_volume(source)
        ours.create_snapshot(old)
        ours.unmanage_snapshot(old)

    return prepare, lambda ours: ours.manage_existing_snapshot(made, {'source-name': f'unmanaged-{old.name}'})


SCENARIOS = [
    create,
    clone,
    copy,
    freeze,
    revert,
    extend,
    retype,
    attach,
    detach,
    open_,
    close,
    open_again,
    delete,
    manage,
    manage_snapshot,
    group,
    group_of_two_flexvols,
]


@pytest.mark.parametrize('scenario', SCENARIOS, ids=lambda scenario: scenario.__name__.strip('_'))
def test_a_verb_that_dies_at_any_request_is_repeated_to_its_end(
    double: Double, monkeypatch: pytest.MonkeyPatch, scenario: Callable[[], tuple[Step, Step]]
) -> None:
    prepare, act = scenario()

    def fresh() -> None:
        double.cluster = Cluster(NoDisks())
        prepare(driver(double))

    fresh()
    double.calls.clear()
    act(driver(double))
    expected, requests = remembered(double.cluster), len(double.calls)
    assert requests > 0
    send = Client._attempt
    for at in range(requests):
        for after in (False, True):
            fresh()
            sent: list[str] = []

            def attempt(
                self: Client, method: str, target: str, body: str | None,
                sent: list[str] = sent, at: int = at, after: bool = after,
            ) -> Any:  # fmt: skip
                sent.append(method)
                answer = send(self, method, target, body) if len(sent) <= at or after else None
                if len(sent) > at:
                    raise Killed
                return answer

            with monkeypatch.context() as patch:
                patch.setattr(Client, '_attempt', attempt)
                with pytest.raises(Killed):
                    act(driver(double))
            act(driver(double))
            assert remembered(double.cluster) == expected, f'request {at}, {"after" if after else "before"}'
