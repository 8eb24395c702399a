"""Accounts, igroups and maps at ONTAP that no record names: found, removed, and safe from attachments under way."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable
from typing import Any

import pytest

from chalicelib.drivers import ontap_client, ontap_exports
from chalicelib.drivers.base import StoredExport
from chalicelib.drivers.ontap import OntapDriver
from tests.ontap.driver_fixture import driver
from tests.ontap.server import Double
from tests.unit.drivers.ontap import HOST, OTHER, double, identity, volume

__all__ = ['double', 'identity']

CONNECTOR = {'initiator': HOST}


class Died(Exception):
    """The process ends here."""


def accounts(double: Double) -> set[str]:
    return {one['initiator'] for one in double.cluster.credentials}


def igroups(double: Double) -> set[str]:
    return {one['name'] for one in double.cluster.igroups}


def mapped(double: Double) -> set[str]:
    return {one['igroup']['name'] for one in double.cluster.maps}


def dying(monkeypatch: pytest.MonkeyPatch, after: int, work: Callable[[], Any]) -> bool:
    """Whether the work came to its end before it had sent so many requests."""
    send, left = ontap_client.Client._send, [after]

    def counted(client: Any, *arguments: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise Died
        return send(client, *arguments)

    with monkeypatch.context() as patch, contextlib.suppress(Died):
        patch.setattr(ontap_client.Client, '_send', counted)
        work()
        return True
    return False


def remove_all(ours: OntapDriver) -> None:
    for name in ours.list_idle_access():
        ours.remove_idle_access(name)


def test_a_host_in_use_is_not_idle(double: Double) -> None:
    made, ours = volume(), driver(double)
    ours.create_volume(made)
    ours.initialize_connection(made, CONNECTOR, 'e')
    ours.open_volume(made, 'w', 'rw')
    assert ours.list_idle_access() == []
    for name in igroups(double):  # requested all the same: by a comparison that is late
        with contextlib.suppress(Exception):
            ours.remove_idle_access(name)
    assert len(mapped(double)) == len(accounts(double)) == len(igroups(double)) == 2


def test_a_host_without_volumes_is_forgotten(double: Double) -> None:
    made, ours = volume(), driver(double)
    ours.create_volume(made)
    ours.initialize_connection(made, CONNECTOR, 'e')
    ours.terminate_connection(made, 'e')
    assert ours.list_idle_access() == [ontap_exports.host(HOST).igroup]
    remove_all(ours)
    assert (accounts(double), igroups(double), ours.list_idle_access()) == (set(), set(), [])
    for _ in range(2):
        ours.remove_idle_access(ontap_exports.host(HOST).igroup)
    ours.initialize_connection(made, CONNECTOR, 'e')
    assert (accounts(double), len(mapped(double))) == ({HOST}, 1)


def test_what_others_made_stays(double: Double) -> None:
    """An account of the SVM's administrator, one of a deployment with another secret, and other igroups."""
    ours, other = driver(double), driver(double, chap_secret='another secret of more than 32 characters')
    svm = {'svm': {'name': 'svm1'}}
    chap = {'authentication_type': 'chap', 'chap': {'inbound': {'user': 'them', 'password': 'x' * 16}}}
    ours._client.make(ontap_exports.CREDENTIALS, {'initiator': OTHER, **chap})
    members = [{'name': OTHER}]
    ours._client.make(
        ontap_exports.IGROUPS, {**svm, 'name': 'theirs', 'protocol': 'iscsi', 'os_type': 'linux', 'initiators': members}
    )
    made = volume()
    other.create_volume(made)
    other.initialize_connection(made, CONNECTOR, 'e')
    other.terminate_connection(made, 'e')
    assert ours.list_idle_access() == []
    assert other.list_idle_access() == [ontap_exports.host(HOST).igroup]
    assert (accounts(double), 'theirs' in igroups(double)) == ({HOST, OTHER}, True)


@pytest.mark.parametrize('verb', ['attach', 'open', 'close'])
def test_what_a_death_at_any_request_leaves_is_found(
    double: Double, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """The volume is deleted afterwards, and nothing of it is left."""
    for after in itertools.count():
        made, ours = volume(), driver(double)
        ours.create_volume(made)
        ours._target()
        if verb == 'close':
            ours.open_volume(made, 'e', 'rw')
        verbs: dict[str, Callable[[], Any]] = {
            'attach': lambda: ours.initialize_connection(made, CONNECTOR, 'e'),  # noqa: B023 - called within the loop
            'open': lambda: ours.open_volume(made, 'e', 'rw'),  # noqa: B023
            'close': lambda: ours.close_volume(made, 'e'),  # noqa: B023
        }
        ended = dying(monkeypatch, after, verbs[verb])
        driver(double).delete_volume(made)
        remove_all(driver(double))
        assert (accounts(double), igroups(double)) == (set(), set())
        if ended:
            break
    assert after >= 3


def test_an_attachment_at_any_moment_of_a_removal_has_its_account(
    double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every order of the requests of both: the host ends up mapped, a member, and with an account."""
    orders = 0
    for first, second in itertools.product(range(9), range(9)):
        if first > second:
            continue
        made = volume()
        driver(double).create_volume(made)
        driver(double).initialize_connection(made, CONNECTOR, 'e')
        driver(double).terminate_connection(made, 'e')
        _interleave(
            monkeypatch,
            lambda: driver(double).remove_idle_access(ontap_exports.host(HOST).igroup),
            lambda: driver(double).initialize_connection(made, CONNECTOR, 'e'),  # noqa: B023 - called within the loop
            (first, second),
        )
        assert mapped(double) == {ontap_exports.host(HOST).igroup}, (first, second)
        assert accounts(double) == {HOST}, (first, second)
        driver(double).delete_volume(made)
        remove_all(driver(double))
        orders += 1
    assert orders == 45


class Turns:
    """Threads by name, each of which sends its next request on command."""

    def __init__(self, **works: Callable[[], Any]) -> None:
        self._send = ontap_client.Client._send
        self._turns = {name: threading.Semaphore(0) for name in works}
        self._done = {name: threading.Semaphore(0) for name in works}
        self._threads = {name: threading.Thread(target=self._run, args=(name, work)) for name, work in works.items()}
        self._ended: set[str] = set()

    def _run(self, name: str, work: Callable[[], Any]) -> None:
        threading.current_thread().name = name
        self._turns[name].acquire()
        try:
            work()
        finally:
            self._ended.add(name)
            self._done[name].release()

    def send(self, client: Any, *arguments: Any) -> Any:
        """In the place of the client's own: waits for the next turn before each request but the first."""
        try:
            return self._send(client, *arguments)
        finally:
            name = threading.current_thread().name
            self._done[name].release()
            self._turns[name].acquire()

    def start(self) -> None:
        for thread in self._threads.values():
            thread.start()

    def step(self, name: str, times: int) -> None:
        for _ in range(times):
            if name not in self._ended:
                self._turns[name].release()
                assert self._done[name].acquire(timeout=20)

    def finish(self, *names: str) -> None:
        for name in names:
            self.step(name, 60)
            assert name in self._ended
            self._threads[name].join()


def _interleave(
    monkeypatch: pytest.MonkeyPatch, removal: Callable[[], Any], attach: Callable[[], Any], at: tuple[int, int]
) -> None:
    """Run the attachment with the removal within: begun after ``at[0]`` requests, ended after ``at[1]``."""
    turns = Turns(attach=attach, removal=removal)
    with monkeypatch.context() as patch:
        patch.setattr(ontap_client.Client, '_send', lambda client, *arguments: turns.send(client, *arguments))
        turns.start()
        turns.step('attach', at[0])
        turns.step('removal', 5)  # the target and its portals, the igroup, its removal, the list of the accounts
        turns.step('attach', at[1] - at[0])
        turns.finish('removal', 'attach')


def test_an_unnamed_map_is_ended(double: Double) -> None:
    made, ours = volume(), driver(double)
    ours.create_volume(made)
    ours.initialize_connection(made, CONNECTOR, 'e')
    ours.open_volume(made, 'w', 'rw')
    for attribute in [one for lun in double.cluster.luns for one in lun['attributes']]:
        for lun in double.cluster.luns:
            lun['attributes'].remove(attribute)
    found = [one for one in ours.list_exports() if one.export_id is None]
    assert len(found) == 2
    for one in found * 2:
        ours.end_unnamed_export(one)
    assert (ours.list_exports(), mapped(double)) == ([], set())


def test_a_map_that_a_note_names_by_now_stays(double: Double) -> None:
    made, ours = volume(), driver(double)
    ours.create_volume(made)
    ours.initialize_connection(made, CONNECTOR, 'e')
    ours.end_unnamed_export(StoredExport(made.name, 'fast', None, ontap_exports.host(HOST).igroup))
    assert len(mapped(double)) == 1
