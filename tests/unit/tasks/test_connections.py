"""The synchronous tasks of attach and detach, as the volume worker runs them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from chalicelib import errors
from chalicelib.models import Attachment, Volume, base
from chalicelib.operations import exports
from chalicelib.operations import legacy_attachments as legacy
from chalicelib.tasks import connections
from tests.chap import CANARY, chap, paths
from tests.factories import context, stored_volume
from tests.simulation import Simulation
from tests.unit.operations.test_attachments import HOST, at_the_first, make_volume

__all__ = ['chap']


@pytest.fixture
def volume(chap: Simulation) -> Volume:
    return make_volume(chap)


def stored_attachment(volume: Volume, **facts: Any) -> Attachment:
    usual = {'created_at': base.now(), 'volume_id': volume.id, 'attach_status': 'attaching', 'connector': HOST}
    attachment = Attachment(volume.project_id, 'a77ac4ed-0000-4000-8000-000000000000', **{**usual, **facts})
    attachment.save()
    return attachment


def initialize(attachment: Attachment) -> dict[str, Any]:
    payload = {'project_id': attachment.project_id, 'attachment_id': attachment.id}
    return connections.initialize_attachment(payload)


def test_the_answer_is_whole_and_the_record_is_sealed(chap: Simulation, volume: Volume) -> None:
    attachment = stored_attachment(volume)
    info = initialize(attachment)
    assert info['auth_password'] == f'{CANARY}-{attachment.id}'
    stored = attachment.reload()
    secret = {'auth_password', 'discovery_auth_password'}
    assert stored.connection_info == {key: value for key, value in info.items() if key not in secret}
    assert stored.sealed
    assert stored.attach_mode == 'rw'
    assert initialize(attachment) == info


def test_a_driver_without_secrets_seals_nothing(simulation: Simulation) -> None:
    attachment = stored_attachment(make_volume(simulation))
    initialize(attachment)
    assert attachment.reload().sealed is None


def test_a_first_attempt_that_fails_half_way_is_undone(
    chap: Simulation, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The backend made the path, and the answer was lost."""
    from tests.chap import ChapDriver

    make = ChapDriver.initialize_connection

    def lost(*arguments: Any) -> Any:
        make(*arguments)
        raise errors.BackendUnavailable(backend='big', reason='the connection broke')

    monkeypatch.setattr(ChapDriver, 'initialize_connection', lost)
    with pytest.raises(errors.BackendUnavailable):
        initialize(stored_attachment(volume))
    assert paths(chap) == []


def test_an_undo_that_fails_too_does_not_hide_the_error(chap: Simulation, volume: Volume) -> None:
    chap.big.fail('initialize_connection', errors.DriverError(backend='big', reason='no more LUNs'))
    chap.big.fail('terminate_connection', chap.big.unavailable())
    with pytest.raises(errors.DriverError, match='no more LUNs'):
        initialize(stored_attachment(volume))


def test_a_volume_that_is_nowhere_has_no_path(chap: Simulation) -> None:
    volume = stored_volume(host=None, exports={'e': {'attempt': 'a'}})
    with pytest.raises(errors.InvalidVolume, match='has no backend yet'):
        connections.initialize_connection(
            {'project_id': volume.project_id, 'volume_id': volume.id, 'export_id': 'e', 'connector': HOST}
        )


@pytest.mark.parametrize(
    ('mode', 'flag', 'expected'),
    [
        ('rw', None, 'rw'),
        ('null', None, 'rw'),
        (None, None, 'rw'),
        ('ro', None, 'ro'),
        ('rw', 'True', 'ro'),
        ('rw', 'False', 'rw'),
    ],
)
def test_access_mode(mode: str | None, flag: str | None, expected: str) -> None:
    volume = Volume('p', 'v', admin_metadata={} if flag is None else {'readonly': flag})
    assert connections.access_mode(volume, mode) == expected


def test_what_the_manager_adds() -> None:
    found = {'driver_volume_type': 'iscsi', 'data': {'target_lun': 1, 'access_mode': 'rw', 'discard': True}}
    plain = connections.decorated(Volume('p', 'v', size=1), found, 'ro', enforce_multipath=True)
    assert plain == {
        'driver_volume_type': 'iscsi',
        'data': {
            'target_lun': 1,
            'discard': True,
            'qos_specs': None,
            'encrypted': False,
            'cacheable': False,
            'access_mode': 'ro',
        },
        'enforce_multipath': True,
    }
    encrypted = connections.decorated(Volume('p', 'v', encryption_key_id='k'), found, 'rw', enforce_multipath=False)
    assert encrypted['data']['encrypted'] is True


def test_one_path_or_all_are_taken_away(chap: Simulation, volume: Volume) -> None:
    key = {'project_id': volume.project_id, 'volume_id': volume.id}
    names = ('one', 'two', 'three', 'four')
    volume.update(actions=[Volume.exports.set({name: {'attempt': name} for name in names})])
    for export in names:
        connections.initialize_connection({**key, 'export_id': export, 'connector': HOST})
    connections.terminate_connection({**key, 'export_id': 'two'})
    connections.terminate_connection({**key, 'export_id': ['four', 'gone']})
    assert [export for _, export in paths(chap)] == ['one', 'three']
    connections.terminate_connection({**key, 'export_id': None})
    connections.terminate_connection({**key, 'export_id': None})
    assert paths(chap) == []


def test_a_worker_that_is_late_for_a_detach_takes_its_export_away(chap: Simulation, volume: Volume) -> None:
    """The detach has closed all there was, and is about to remove the attachment."""
    attachment = stored_attachment(volume, attempt='one')
    chap.around = at_the_first(
        'cinderless@big initialize_connection', lambda: exports.supersede(attachment.reload())
    )  # fmt: skip
    with pytest.raises(errors.StateChanged):
        connections.initialize_attachment(
            {'project_id': volume.project_id, 'attachment_id': attachment.id, 'attempt': 'one'}
        )
    assert (attachment.reload().connection_info, paths(chap)) == (None, [])


def test_a_worker_of_an_earlier_attempt_leaves_the_newer_ones_export(chap: Simulation, volume: Volume) -> None:
    attachment = stored_attachment(volume, attempt='one')
    newer = [Attachment.attempt.set('two'), *base.touched(Attachment)]
    chap.around = at_the_first(
        'cinderless@big initialize_connection', lambda: base.update(attachment.reload(), newer)
    )  # fmt: skip
    with pytest.raises(errors.StateChanged):
        connections.initialize_attachment(
            {'project_id': volume.project_id, 'attachment_id': attachment.id, 'attempt': 'one'}
        )
    assert (attachment.reload().connection_info, len(paths(chap))) == (None, 1)


def test_a_worker_makes_no_export_that_is_being_ended(chap: Simulation, volume: Volume) -> None:
    """Between the end on the backend and the end of the entry."""
    legacy.initialize_connection(context(), volume.id, HOST)
    [export_id] = volume.reload().exports
    payload = {'project_id': volume.project_id, 'volume_id': volume.id, 'export_id': export_id, 'connector': HOST}
    refused: list[bool] = []

    @contextlib.contextmanager
    def around(name: str) -> Iterator[None]:
        yield
        if name == 'cinderless@big terminate_connection' and not refused:
            refused.append(True)
            with pytest.raises(errors.StateChanged):
                connections.initialize_connection(payload)

    chap.around = around
    legacy.terminate_connection(context(), volume.id, HOST)
    assert refused
    assert (paths(chap), volume.reload().exports) == ([], {})
