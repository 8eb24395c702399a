"""Snapshots kept of backups, and the comparison with them, over every kind of store."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance import routes, service
from appliance.errors import Busy, Full, Invalid, NotComparable, NotFound, OutOfSpace
from appliance.names import Key
from appliance.store import Medium
from tests.unit.appliance.agent_fixture import GIB, HOST, MIB, VOLUME, Rig

FIRST, SECOND, USERS = (Key('fast', f'snapshot-{name}') for name in ('first', 'second', 'users'))


@pytest.fixture
def rig(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Rig:
    """A store that compares snapshots, or claims to: an ordinary folder cannot."""
    monkeypatch.setattr(type(rig.store), 'compares', lambda store: True)
    rig.appliance.create_volume(VOLUME, GIB)
    return rig


def snapshot(rig: Rig, key: Key, retired: bool = False) -> None:
    rig.appliance.create_snapshot(key, VOLUME.name)
    if retired:
        assert rig.appliance.retire_snapshot(key) == {'kept': True}


def objects(rig: Rig) -> set[str]:
    return set(rig.appliance.list_objects('fast')['objects'])


def kept(rig: Rig) -> set[str]:
    return {one['name'] for one in rig.appliance.list_manageable('fast')['objects'] if one['kept']}


def test_one_of_a_volume_is_kept(rig: Rig) -> None:
    snapshot(rig, USERS)
    snapshot(rig, FIRST, retired=True)
    snapshot(rig, SECOND, retired=True)
    assert (objects(rig), kept(rig)) == ({VOLUME.name, USERS.name, SECOND.name}, {SECOND.name})
    assert rig.appliance.retire_snapshot(SECOND) == {'kept': True}
    assert rig.appliance.retire_snapshot(FIRST) == {'kept': False}
    assert kept(rig) == {SECOND.name}


def test_the_mark_outlives_a_restart(rig: Rig) -> None:
    snapshot(rig, FIRST, retired=True)
    rig.start()
    assert kept(rig) == {FIRST.name}


def test_other_volumes_keep_theirs(rig: Rig) -> None:
    other = Key('fast', 'volume-2')
    rig.appliance.create_volume(other, GIB)
    rig.appliance.create_snapshot(SECOND, other.name)
    rig.appliance.retire_snapshot(SECOND)
    snapshot(rig, FIRST, retired=True)
    assert kept(rig) == {FIRST.name, SECOND.name}


@pytest.mark.parametrize('leave', ['delete', 'release'])
def test_it_goes_with_its_volume(rig: Rig, leave: str) -> None:
    snapshot(rig, USERS)
    snapshot(rig, FIRST, retired=True)
    getattr(rig.appliance, leave)(VOLUME)
    assert kept(rig) == set()
    assert USERS.name in objects(rig)
    assert FIRST.name not in objects(rig)


def test_a_volume_that_is_in_use_keeps_it(rig: Rig) -> None:
    snapshot(rig, FIRST, retired=True)
    rig.appliance.create_export(VOLUME, 'e', HOST, 'rw')
    rig.login('e')
    with pytest.raises(Busy):
        rig.appliance.delete(VOLUME)
    assert kept(rig) == {FIRST.name}


def test_one_that_is_read_does_not_hold_its_volume(rig: Rig) -> None:
    snapshot(rig, FIRST, retired=True)
    rig.appliance.create_export(FIRST, 'e', HOST, 'ro')
    session = rig.tgt.login(f'iqn.2010-10.org.openstack:{FIRST.name}', HOST, *rig.account('e', FIRST))
    rig.appliance.delete(VOLUME)
    assert kept(rig) == {FIRST.name}
    rig.target(f'iqn.2010-10.org.openstack:{FIRST.name}').sessions.pop(session)
    rig.appliance.reconcile(compare=True)
    assert objects(rig) == set()


def test_a_late_request_keeps_nothing_of_a_volume_that_is_gone(rig: Rig) -> None:
    snapshot(rig, FIRST)
    rig.appliance.delete(VOLUME)
    assert rig.appliance.retire_snapshot(FIRST) == {'kept': False}
    assert objects(rig) == set()


def test_a_volume_that_goes_at_the_same_time_leaves_nothing(rig: Rig) -> None:
    for _ in range(10):
        rig.appliance.create_volume(VOLUME, GIB)
        snapshot(rig, FIRST)
        calls = [threading.Thread(target=rig.appliance.retire_snapshot, args=(FIRST,)),
                 threading.Thread(target=rig.appliance.delete, args=(VOLUME,))]  # fmt: skip
        for call in calls:
            call.start()
        for call in calls:
            call.join()
        assert objects(rig) == set()


def test_where_the_store_compares_nothing_it_is_deleted(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(rig.store), 'compares', lambda store: False)
    snapshot(rig, FIRST)
    assert rig.appliance.retire_snapshot(FIRST) == {'kept': False}
    assert objects(rig) == {VOLUME.name}


class TestSpace:
    def leave(self, rig: Rig, monkeypatch: pytest.MonkeyPatch, free: int) -> None:
        monkeypatch.setattr(type(rig.store), 'medium', lambda store: Medium(10 * GIB, free))

    def test_it_is_counted_as_used_and_not_as_promised(self, rig: Rig) -> None:
        before = rig.pools.usage('fast')
        snapshot(rig, FIRST, retired=True)
        after = rig.pools.usage('fast')
        assert (after.provisioned_bytes, after.objects) == (before.provisioned_bytes, before.objects + 1)
        rig.journal.measured(FIRST, GIB // 2)
        assert before.free_bytes - rig.pools.usage('fast').free_bytes == GIB // 2
        snapshot(rig, USERS)
        assert rig.pools.usage('fast').provisioned_bytes == before.provisioned_bytes + GIB

    def test_its_own_bytes_are_measured_now_and_then(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        snapshot(rig, FIRST, retired=True)
        monkeypatch.setattr(type(rig.store), 'exclusive', lambda store, key: 5 * MIB)
        assert rig.journal.kept('fast') == {FIRST.name: 0}
        rig.appliance.reconcile(compare=True)
        assert rig.journal.kept('fast') == {FIRST.name: 5 * MIB}

    def test_a_short_pool_keeps_none(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        snapshot(rig, FIRST, retired=True)
        snapshot(rig, SECOND)
        self.leave(rig, monkeypatch, 700 * MIB)
        assert rig.appliance.retire_snapshot(SECOND) == {'kept': False}
        rig.appliance.reconcile()
        assert kept(rig) == {FIRST.name}
        rig.appliance.reconcile(compare=True)
        assert objects(rig) == {VOLUME.name}

    def test_a_request_without_space_takes_theirs(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        snapshot(rig, USERS)
        snapshot(rig, FIRST, retired=True)
        freed = {True: Medium(10 * GIB, 0), False: Medium(10 * GIB, 5 * GIB)}
        monkeypatch.setattr(type(rig.store), 'medium', lambda store: freed[store.size(FIRST) is not None])
        self.ask(rig, {'size_bytes': GIB})
        assert objects(rig) == {VOLUME.name, USERS.name, 'volume-2'}

    def test_a_promise_that_is_too_large_takes_nothing(self, rig: Rig) -> None:
        snapshot(rig, FIRST, retired=True)
        with pytest.raises(Full) as refused:
            self.ask(rig, {'size_bytes': 1000 * GIB})
        assert type(refused.value) is Full
        assert kept(rig) == {FIRST.name}

    def test_without_any_the_pool_is_full(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        self.leave(rig, monkeypatch, 0)
        with pytest.raises(OutOfSpace):
            self.ask(rig, {'size_bytes': GIB})

    def ask(self, rig: Rig, body: dict[str, Any]) -> None:
        routes.answer(rig.appliance, 'PUT', '/v1/pools/fast/volumes/volume-2', json.dumps(body).encode())


class TestChanges:
    """The store's part is tested on real file systems, and with thin_delta."""

    @pytest.fixture
    def parts(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []

        def changes(store: object, new: Key, old: Key, start: int, stop: int) -> Iterator[tuple[int, int]]:
            assert start < stop <= GIB
            yield from (part for part in found if start <= part[0] < stop)

        monkeypatch.setattr(type(rig.store), 'changes', changes)
        return found

    def ask(self, rig: Rig, start: int = 0, stop: int = 4 * GIB, older: str = FIRST.name) -> Any:
        path = f'/v1/pools/fast/snapshots/{SECOND.name}/changes/{older}/{start}/{stop}'
        found = routes.answer(rig.appliance, 'GET', path, b'')
        return found['changes'], found['next']

    def two(self, rig: Rig, size: int = GIB) -> None:
        snapshot(rig, FIRST, retired=True)
        if size != GIB:
            rig.appliance.extend_volume(VOLUME, size)
        snapshot(rig, SECOND)

    def test_parts_that_touch_are_one(self, rig: Rig, parts: list[tuple[int, int]]) -> None:
        self.two(rig)
        parts += [(0, 4096), (4096, 8192), (MIB, MIB + 512)]
        assert self.ask(rig) == ([[0, 8192], [MIB, 512]], None)

    def test_pages(self, rig: Rig, parts: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(service, 'CHANGES_PAGE', 3)
        self.two(rig)
        parts += [(place, place + 512) for place in range(0, 7 * MIB, MIB)]
        found, place = [], 0
        while place is not None:
            page, place = self.ask(rig, place)
            assert len(page) <= 3
            found += page
        assert found == [[start, 512] for start, _ in parts]

    @pytest.mark.parametrize(
        ('start', 'expected'), [(0, [[0, 512], [GIB, GIB]]), (GIB + MIB, [[GIB + MIB, GIB - MIB]])]
    )
    def test_beyond_the_older_one_all_differs(
        self, rig: Rig, parts: list[tuple[int, int]], start: int, expected: list[list[int]]
    ) -> None:
        self.two(rig, 2 * GIB)
        parts.append((0, 512))
        assert self.ask(rig, start) == (expected, None)
        assert self.ask(rig, 2 * GIB, 4 * GIB) == ([], None)

    def test_snapshots_of_two_volumes_are_not_compared(self, rig: Rig, parts: list[tuple[int, int]]) -> None:
        self.two(rig)
        rig.appliance.create_volume(Key('fast', 'volume-2'), GIB)
        rig.appliance.create_snapshot(USERS, 'volume-2')
        with pytest.raises(NotComparable):
            self.ask(rig, older=USERS.name)

    def test_what_is_not_there(self, rig: Rig, parts: list[tuple[int, int]]) -> None:
        snapshot(rig, FIRST)
        with pytest.raises(NotFound):
            self.ask(rig)

    @pytest.mark.parametrize('place', ['-1', 'x', '0x10', '1' * 20, '..'])
    def test_places_that_are_none(self, rig: Rig, parts: list[tuple[int, int]], place: str) -> None:
        self.two(rig)
        with pytest.raises(Invalid):
            routes.answer(
                rig.appliance, 'GET', f'/v1/pools/fast/snapshots/{SECOND.name}/changes/{FIRST.name}/0/{place}', b''
            )


def test_a_temporary_snapshot_is_kept_from_the_beginning(rig: Rig) -> None:
    path = f'/v1/pools/fast/snapshots/{FIRST.name}'
    for _ in range(2):
        routes.answer(rig.appliance, 'PUT', path, json.dumps({'volume': VOLUME.name, 'kept': True}).encode())
    assert kept(rig) == {FIRST.name}
    with pytest.raises(Invalid):
        routes.answer(rig.appliance, 'PUT', path, json.dumps({'volume': VOLUME.name, 'kept': 1}).encode())
    rig.appliance.delete(VOLUME)
    assert objects(rig) == set()


def test_a_store_that_compares_nothing_makes_no_temporary_snapshot(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be a whole copy, for nothing."""
    monkeypatch.setattr(type(rig.store), 'compares', lambda store: False)
    with pytest.raises(NotComparable):
        rig.appliance.create_snapshot(FIRST, VOLUME.name, kept=True)
    assert objects(rig) == {VOLUME.name}


def test_a_record_of_an_earlier_version_is_not_kept(rig: Rig) -> None:
    snapshot(rig, FIRST, retired=True)
    path = rig.folder / 'journal' / 'fast' / f'{FIRST.name}.json'
    document = json.loads(Path(path).read_text())
    del document['kept']
    path.write_text(json.dumps(document))
    rig.start()
    assert kept(rig) == set()


def test_reports_of_keys(rig: Rig) -> None:
    snapshot(rig, FIRST, retired=True)
    record = rig.journal.get(FIRST)
    assert rig.journal.kept('fast') == {FIRST.name: 0}
    rig.journal.put(FIRST, dataclasses.replace(record, kept=0))
    assert rig.journal.kept('fast') == {}


def test_iterables_are_lazy(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page ends the comparison: what follows is for the next request."""
    snapshot(rig, FIRST)
    snapshot(rig, SECOND)
    seen: list[int] = []

    def changes(*_: object) -> Iterable[tuple[int, int]]:
        for place in range(0, GIB, MIB):
            seen.append(place)
            yield place, place + 512

    monkeypatch.setattr(type(rig.store), 'changes', changes)
    monkeypatch.setattr(service, 'CHANGES_PAGE', 10)
    rig.appliance.list_changes(SECOND, FIRST.name, '0', str(GIB))
    assert len(seen) == 11
