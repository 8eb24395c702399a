"""Offers, and what becomes of volume, snapshots and both quotas when one is accepted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chalicelib import errors
from chalicelib.models import Name, Snapshot, Transfer, Volume
from chalicelib.operations import quotas, snapshots, transfers, volumes
from tests import invariants
from tests.factories import context, create_snapshot, create_volume, query, stored_snapshot, stored_volume
from tests.simulation import Simulation

DONOR, TAKER = context(), context(project_id='other', user_id='taker')


def offer(volume: Volume, *, no_snapshots: bool = False, allow_encrypted: bool = True) -> tuple[Transfer, str]:
    return transfers.create(DONOR, volume.id, name='gift', no_snapshots=no_snapshots, allow_encrypted=allow_encrypted)


def names() -> list[str]:
    return [name.id for name in Name.scan() if name.id.startswith('transfer:')]


@pytest.fixture
def volume(simulation: Simulation) -> Volume:
    made = create_volume(DONOR, 5)
    simulation.settle()
    create_snapshot(DONOR, made)
    simulation.settle()
    return made.reload()


def test_an_offer(volume: Volume) -> None:
    transfer, key = offer(volume)
    assert (transfer.project_id, transfer.volume_id, transfer.name, len(key)) == ('project', volume.id, 'gift', 16)
    assert (volume.reload().status, volume.reload().transfer_id) == ('awaiting-transfer', transfer.id)
    assert transfers.get(DONOR, transfer.id).id == transfer.id
    assert [one.id for one in transfers.list_(DONOR, query())[0]] == [transfer.id]
    assert transfers.list_(TAKER, query()) == ([], False)
    with pytest.raises(errors.TransferNotFound):
        transfers.get(TAKER, transfer.id)


def test_the_key_is_nowhere_in_the_tables(volume: Volume) -> None:
    transfer, key = offer(volume)
    stored = [json.dumps(record.serialize()) for kind in (Transfer, Name, Volume) for record in kind.scan()]
    assert not [text for text in stored if key in text]
    assert transfer.crypt_hash != key


def test_two_offers_have_two_keys(simulation: Simulation) -> None:
    assert offer(stored_volume())[1] != offer(stored_volume())[1]


@pytest.mark.parametrize(
    ('facts', 'reason'),
    [
        ({'status': 'in-use'}, 'status must be available'),
        ({'status': 'awaiting-transfer'}, 'status must be available'),
        ({'group_id': 'g'}, 'must not be part of a group'),
        ({'migration_status': 'migrating'}, 'is being migrated'),
    ],
)
def test_what_cannot_be_offered(simulation: Simulation, facts: dict[str, Any], reason: str) -> None:
    volume = stored_volume(**facts)
    with pytest.raises(errors.InvalidVolume, match=reason):
        offer(volume)
    assert list(Transfer.scan()) == names() == []
    assert volume.reload().transfer_id is None


@pytest.mark.parametrize(
    ('allowed', 'no_snapshots', 'reason'),
    [(False, False, 'before microversion 3.70'), (True, True, 'without its snapshots'), (True, False, '')],
)
def test_encrypted_volumes(simulation: Simulation, allowed: bool, no_snapshots: bool, reason: str) -> None:
    volume = stored_volume(encryption_key_id='k')
    if not reason:
        assert offer(volume, no_snapshots=no_snapshots, allow_encrypted=allowed)
        return
    with pytest.raises(errors.InvalidVolume, match=reason):
        offer(volume, no_snapshots=no_snapshots, allow_encrypted=allowed)


@pytest.mark.parametrize('facts', [{'status': 'error'}, {'group_snapshot_id': 'g'}])
def test_snapshots_that_cannot_go_along(simulation: Simulation, facts: dict[str, Any]) -> None:
    volume = stored_volume()
    stored_snapshot(volume, **facts)
    with pytest.raises(errors.InvalidSnapshot):
        offer(volume)
    assert offer(volume, no_snapshots=True)


def test_more_snapshots_than_one_transaction_holds(simulation: Simulation) -> None:
    volume = stored_volume()
    for _ in range(transfers.MAX_SNAPSHOTS + 1):
        stored_snapshot(volume)
    with pytest.raises(errors.InvalidVolume, match='46 snapshots'):
        offer(volume)


def test_as_many_snapshots_as_one_transaction_holds(simulation: Simulation) -> None:
    quotas.update('project', {'snapshots': -1, 'gigabytes': -1})
    quotas.update('other', {'snapshots': -1, 'gigabytes': -1})
    volume = create_volume(DONOR, 1)
    simulation.settle()
    for _ in range(transfers.MAX_SNAPSHOTS):
        create_snapshot(DONOR, volume)
    simulation.settle()
    transfers.accept(TAKER, *_facts(offer(volume)))
    assert {snapshot.project_id for snapshot in Snapshot.scan()} == {'other'}
    invariants.check(simulation)


def _facts(offered: tuple[Transfer, str]) -> tuple[str, str]:
    return offered[0].id, offered[1]


def test_accept(simulation: Simulation, volume: Volume) -> None:
    transfers.accept(TAKER, *_facts(offer(volume)))
    with pytest.raises(errors.VolumeNotFound):
        volumes.get(DONOR, volume.id)
    taken = volumes.get(TAKER, volume.id)
    assert (taken.status, taken.user_id, taken.transfer_id, taken.host) == ('available', 'taker', None, volume.host)
    [snapshot] = snapshots.list_(TAKER, query())[0]
    assert (snapshot.volume_id, snapshot.user_id) == (volume.id, 'taker')
    assert list(Transfer.scan()) == names() == []
    used = {project: quotas.usages(project) for project in ('project', 'other')}
    assert {name: used['other'][name]['in_use'] for name in ('volumes', 'snapshots', 'gigabytes')} == {
        'volumes': 1, 'snapshots': 1, 'gigabytes': 10,
    }  # fmt: skip
    assert not any(usage['in_use'] for usage in used['project'].values())
    invariants.check(simulation)


def test_what_was_accepted_works(simulation: Simulation, volume: Volume) -> None:
    transfers.accept(TAKER, *_facts(offer(volume)))
    [snapshot] = snapshots.list_(TAKER, query())[0]
    create_volume(TAKER, 6, snapshot_id=snapshot.id)
    create_snapshot(TAKER, volumes.get(TAKER, volume.id))
    simulation.settle()
    volumes.delete(TAKER, volume.id, cascade=True)
    simulation.settle()
    assert [one.size for one in Volume.scan()] == [6]
    invariants.check(simulation)


def test_accept_without_snapshots(simulation: Simulation, volume: Volume) -> None:
    transfers.accept(TAKER, *_facts(offer(volume, no_snapshots=True)))
    [snapshot] = snapshots.list_(DONOR, query())[0]
    assert snapshots.list_(TAKER, query()) == ([], False)
    assert quotas.usages('project')['gigabytes']['in_use'] == quotas.usages('other')['gigabytes']['in_use'] == 5
    for cascade in (False, True):
        with pytest.raises(errors.InvalidVolume, match='disassociated from snapshots'):
            volumes.delete(TAKER, volume.id, cascade=cascade)
    clone = create_volume(DONOR, 5, snapshot_id=snapshot.id)
    simulation.settle()
    assert clone.reload().status == 'available'
    snapshots.delete(DONOR, snapshot.id)
    simulation.settle()
    invariants.check(simulation)
    volumes.delete(TAKER, volume.id)
    simulation.settle()
    invariants.check(simulation)


def test_there_and_back(simulation: Simulation, volume: Volume) -> None:
    for giver, taker in ((DONOR, TAKER), (TAKER, DONOR)):
        transfer, key = transfers.create(giver, volume.id, name=None, no_snapshots=True, allow_encrypted=False)
        transfers.accept(taker, transfer.id, key)
        invariants.check(simulation)
    volumes.delete(DONOR, volume.id, cascade=True)
    simulation.settle()
    assert [*Volume.scan(), *Snapshot.scan()] == []
    invariants.check(simulation)


def test_accept_within_the_project(simulation: Simulation, volume: Volume) -> None:
    transfers.accept(context(user_id='colleague'), *_facts(offer(volume)))
    assert (volume.reload().status, volume.reload().user_id, volume.reload().transfer_id) == (
        'available', 'colleague', None,
    )  # fmt: skip
    assert list(Transfer.scan()) == names() == []
    invariants.check(simulation)


def test_a_wrong_key(simulation: Simulation, volume: Volume) -> None:
    transfer, key = offer(volume)
    for wrong in ('', 'bad', key[:-1], key.upper() + ' ', 'é'):
        with pytest.raises(errors.InvalidAuthKey):
            transfers.accept(TAKER, transfer.id, wrong)
    assert volume.reload().status == 'awaiting-transfer'
    assert transfers.accept(TAKER, transfer.id, key)


def test_an_unknown_offer(simulation: Simulation) -> None:
    for id in ('nothing', 'x' * 2000):
        with pytest.raises(errors.TransferNotFound):
            transfers.accept(TAKER, id, 'key')


@pytest.mark.parametrize(
    ('limits', 'refusal'),
    [
        ({'volumes': 0}, errors.VolumeLimitExceeded),
        ({'gigabytes': 9}, errors.VolumeSizeExceedsAvailableQuota),
        ({'snapshots': 0}, errors.SnapshotLimitExceeded),
        ({'per_volume_gigabytes': 4}, errors.VolumeSizeExceedsLimit),
    ],
)
def test_the_takers_quota(
    simulation: Simulation, volume: Volume, limits: dict[str, int], refusal: type[errors.OverQuota]
) -> None:
    quotas.update('other', limits)
    transfer, key = offer(volume)
    with pytest.raises(refusal):
        transfers.accept(TAKER, transfer.id, key)
    assert volume.reload().status == 'awaiting-transfer'
    assert quotas.usages('project')['gigabytes']['in_use'] == 10
    assert quotas.usages('other')['volumes']['in_use'] == 0
    assert transfers.get(DONOR, transfer.id)


def test_a_volume_that_is_being_cloned(simulation: Simulation, volume: Volume) -> None:
    create_volume(DONOR, 5, source_volid=volume.id)
    transfer, key = offer(volume)
    with pytest.raises(errors.InvalidVolume, match='being read by 1'):
        transfers.accept(TAKER, transfer.id, key)
    simulation.settle()
    transfers.accept(TAKER, transfer.id, key)
    invariants.check(simulation)


def test_a_snapshot_that_stays_and_is_not_taken_yet(simulation: Simulation, volume: Volume) -> None:
    """Taken after the transfer, it would show the taker's data to the donor."""
    late = create_snapshot(DONOR, volume)
    with pytest.raises(errors.InvalidSnapshot, match='is being taken'):
        offer(volume, no_snapshots=True)
    simulation.settle()
    transfer, key = offer(volume, no_snapshots=True)
    late.update(actions=[Snapshot.status.set('creating')])  # accepted before the offer was written
    with pytest.raises(errors.InvalidSnapshot, match='is being taken'):
        transfers.accept(TAKER, transfer.id, key)
    late.update(actions=[Snapshot.status.set('available')])
    transfers.accept(TAKER, transfer.id, key)
    invariants.check(simulation)


def test_a_volume_that_is_no_longer_on_offer(simulation: Simulation, volume: Volume) -> None:
    first, key = offer(volume)
    volumes.reset_status(context('admin'), volume.id, 'available', None, None)
    with pytest.raises(errors.InvalidVolume, match='no longer on offer'):
        transfers.accept(TAKER, first.id, key)
    second, other_key = offer(volume)
    with pytest.raises(errors.InvalidVolume, match='no longer on offer'):
        transfers.accept(TAKER, first.id, key)
    transfers.delete(DONOR, first.id)
    assert volume.reload().status == 'awaiting-transfer'
    transfers.accept(TAKER, second.id, other_key)


def test_a_volume_that_was_removed_by_force(simulation: Simulation, volume: Volume) -> None:
    """Its offer is deleted with it."""
    transfer, key = offer(volume)
    volumes.delete(context('admin'), volume.id, cascade=True, force=True)
    simulation.settle()
    with pytest.raises(errors.TransferNotFound):
        transfers.accept(TAKER, transfer.id, key)
    assert list(Transfer.scan()) == names() == []
    invariants.check(simulation)


def test_delete(simulation: Simulation, volume: Volume) -> None:
    transfer, key = offer(volume)
    with pytest.raises(errors.TransferNotFound):
        transfers.delete(TAKER, transfer.id)
    transfers.delete(DONOR, transfer.id)
    assert (volume.reload().status, volume.reload().transfer_id) == ('available', None)
    for late in (lambda: transfers.delete(DONOR, transfer.id), lambda: transfers.accept(TAKER, transfer.id, key)):
        with pytest.raises(errors.TransferNotFound):
            late()
    invariants.check(simulation)
