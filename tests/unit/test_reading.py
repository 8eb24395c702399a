"""Records read together: one call, each used once, soon, and never after it may have changed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from chalicelib import errors
from chalicelib.models import Backup, Lease, Name, Service, Snapshot, Volume, VolumeType, base, reading
from tests.factories import stored_volume
from tests.unreliable import Unreliable

TYPE = VolumeType.key(base.GLOBAL, 't')
VOLUME = Volume.key('p', 'v')


@pytest.fixture
def store(unreliable: Unreliable) -> Iterator[Unreliable]:
    """A volume of a type, on a backend; nothing is remembered."""
    stored_volume('p', id='v', volume_type_id='t', host='h@b#pool')
    base.put(VolumeType(base.GLOBAL, 't', created_at=base.now(), name='gold'))
    base.put(Service(base.GLOBAL, 'cinder-volume:h@b', created_at=base.now(), binary='cinder-volume', host='h@b',
                     availability_zone='nova', uuid='u'))  # fmt: skip
    reading.forget()
    unreliable.calls.clear()
    yield unreliable
    reading.forget()


def read_all() -> None:
    volume = Volume.find('p', 'v')
    VolumeType.find(base.GLOBAL, str(volume.volume_type_id))
    Service.find(base.GLOBAL, 'cinder-volume:h@b')


def test_what_is_named_is_read_in_one_call(store: Unreliable) -> None:
    with reading.together(VOLUME, TYPE, base.service_key('h@b#pool')):
        read_all()
    assert store.calls == ['BatchGetItem']


def test_without_a_context_each_is_read_alone(store: Unreliable) -> None:
    read_all()
    assert store.calls == ['GetItem'] * 3


def test_one_record_is_read_alone(store: Unreliable) -> None:
    with reading.together(VOLUME):
        Volume.find('p', 'v')
    assert store.calls == ['GetItem']


def test_what_a_process_has_seen_is_fetched_along(store: Unreliable) -> None:
    Volume.find('p', 'v')
    with reading.together(VOLUME, along=('VolumeType', 'Service')):
        read_all()
    assert store.calls == ['GetItem', 'BatchGetItem']


def test_a_process_that_knows_nothing_makes_one_call_more(store: Unreliable) -> None:
    with reading.together(VOLUME, along=('VolumeType', 'Service')):
        read_all()
    assert store.calls == ['GetItem', 'BatchGetItem']


def test_the_type_of_another_volume_is_the_guess_for_an_unknown_one(store: Unreliable) -> None:
    stored_volume('p', id='other', volume_type_id='t', host='h@b#pool')
    Volume.find('p', 'other')
    store.calls.clear()
    with reading.together(VOLUME, along=('VolumeType', 'Service')):
        read_all()
    assert store.calls == ['BatchGetItem']


@pytest.mark.parametrize('known', ['t', 'another'])
def test_a_wrong_key_costs_a_call_and_nothing_else(store: Unreliable, known: str) -> None:
    """What is remembered is which record, not what it holds: the volume has another type by now."""
    Volume.find('p', 'v')
    base.update(Volume('p', 'v'), [Volume.volume_type_id.set('new')])
    base.put(VolumeType(base.GLOBAL, 'new', created_at=base.now(), name='new'))
    store.calls.clear()
    with reading.together(VOLUME, VolumeType.key(base.GLOBAL, known), along=('VolumeType',)):
        volume = Volume.find('p', 'v')
        assert VolumeType.find(base.GLOBAL, str(volume.volume_type_id)).name == 'new'
    assert store.calls == ['BatchGetItem', 'GetItem']


def test_a_record_is_used_once(store: Unreliable) -> None:
    """The second time the caller wants to know what it is now."""
    with reading.together(VOLUME, TYPE):
        Volume.find('p', 'v')
        VolumeType.find(base.GLOBAL, 't')
        store.store.tables['cinderless-volume-types'].items.clear()
        with pytest.raises(errors.VolumeTypeNotFound):
            VolumeType.find(base.GLOBAL, 't')


def test_a_record_that_is_not_there_is_not_found(store: Unreliable) -> None:
    with reading.together(VOLUME, Snapshot.key('p', 's')):
        Volume.find('p', 'v')
        assert Snapshot.find_or_none('p', 's') is None
        with pytest.raises(errors.VolumeNotFound):
            Volume.find('p', 'w')
    assert store.calls == ['BatchGetItem', 'GetItem']


def test_a_write_of_this_process_drops_what_was_fetched(store: Unreliable) -> None:
    with reading.together(VOLUME, TYPE):
        Volume.find('p', 'v')
        base.update(VolumeType(base.GLOBAL, 't'), [VolumeType.name.set('silver')])
        assert VolumeType.find(base.GLOBAL, 't').name == 'silver'


def test_a_transaction_of_this_process_drops_what_was_fetched(store: Unreliable) -> None:
    with reading.together(VOLUME, TYPE):
        Volume.find('p', 'v')
        transaction = base.Transaction()
        kind = VolumeType(base.GLOBAL, 't')
        transaction.update(kind, [VolumeType.name.set('silver')], VolumeType.id.exists(), AssertionError)
        transaction.commit()
        assert VolumeType.find(base.GLOBAL, 't').name == 'silver'


def test_what_was_fetched_grows_old(store: Unreliable, monkeypatch: pytest.MonkeyPatch) -> None:
    with reading.together(VOLUME, TYPE):
        Volume.find('p', 'v')
        later = time.monotonic() + reading.FRESH
        monkeypatch.setattr(reading.time, 'monotonic', lambda: later)
        VolumeType.find(base.GLOBAL, 't')
    assert store.calls == ['BatchGetItem', 'GetItem']


def test_nothing_is_fetched_beyond_the_context(store: Unreliable) -> None:
    with reading.together(VOLUME, TYPE):
        Volume.find('p', 'v')
    VolumeType.find(base.GLOBAL, 't')
    assert store.calls == ['BatchGetItem', 'GetItem']


def test_other_classes_are_read_alone(store: Unreliable) -> None:
    """A role that may get a lease may not get it in a batch."""
    with reading.together(VOLUME, TYPE):
        assert Lease.find_or_none(base.GLOBAL, 'x') is None
        read_all()
    assert store.calls == ['GetItem', 'BatchGetItem', 'GetItem']


def test_what_a_throttled_table_leaves_out_is_requested_again(store: Unreliable) -> None:
    store.page = 1
    with reading.together(VOLUME, TYPE, Name.key(base.GLOBAL, 'n')):
        Volume.find('p', 'v')
        VolumeType.find(base.GLOBAL, 't')
    assert store.calls == ['BatchGetItem'] * 3


def test_a_table_that_throttles_for_ever_is_an_outage(store: Unreliable, monkeypatch: pytest.MonkeyPatch) -> None:
    call = store.store.call

    def throttled(operation: str, request: dict[str, Any]) -> dict[str, Any]:
        if operation == 'BatchGetItem':
            return {'Responses': {}, 'UnprocessedKeys': request['RequestItems']}
        return call(operation, request)

    monkeypatch.setattr(store.store, 'call', throttled)
    with reading.together(VOLUME, TYPE), pytest.raises(errors.ServiceUnavailable):
        Volume.find('p', 'v')


def test_keys_travel_as_json(store: Unreliable) -> None:
    volume = Volume.find('p', 'v')
    payload = {'related': json.loads(json.dumps(reading.as_payload(volume, along=('VolumeType',))))}
    assert reading.of_payload(payload) == [TYPE]
    assert reading.of_payload({}) == []
    assert reading.of_payload({'related': [['Lease', '-', 'x'], ['gone', 'p', 'q']]}) == []


def test_memory_is_bounded(store: Unreliable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, 'REMEMBERED', 3)
    for number in range(9):
        reading.remember(Volume('p', str(number), volume_type_id='t'))
    assert len(reading._related) == 3


def test_a_backup_leads_to_what_it_reads_and_to_what_it_is_restored_to() -> None:
    backup = Backup('p', 'b', status='restoring', restore_volume_id='w')
    assert backup.related() == [('Volume', 'p', 'w')]
    backup = Backup('p', 'b', status='creating', reading={'resource': 'snapshot', 'project_id': 'q', 'id': 's'})
    assert backup.related() == [('Snapshot', 'q', 's')]
