"""Keys of encrypted volumes: one each, cloned with the data, gone with it, and never in clear."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from chalicelib import aws, errors, telemetry
from chalicelib.clients.barbican import Secrets
from chalicelib.context import caller_token
from chalicelib.models import TABLES, Backup, BackupSchedule, Message, Secret, Volume, base
from chalicelib.operations import (
    attachments,
    backup_checks,
    backup_copies,
    backup_records,
    backup_schedules,
    backups,
    cloud,
    keys,
    type_encryption,
    type_specs,
    volume_types,
    volumes,
)
from chalicelib.tasks import schedules
from tests import invariants
from tests.backup_factories import create_backup
from tests.data_backends import Data
from tests.factories import context, create_snapshot, create_volume
from tests.fake_barbican import FakeBarbican, serving
from tests.simulation import Simulation

LUKS = {'provider': 'luks', 'cipher': 'aes-xts-plain64', 'key_size': 256, 'control_location': 'front-end'}


@pytest.fixture(autouse=True)
def key(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A KMS key in moto, and the name of a bucket."""
    import boto3

    from chalicelib import config

    monkeypatch.setenv('BACKUP_BUCKET', 'backups')
    monkeypatch.setenv('KMS_KEY_ID', boto3.client('kms').create_key()['KeyMetadata']['KeyId'])
    config.settings.cache_clear()
    yield
    config.settings.cache_clear()


def luks_type(name: str = 'LUKS', **facts: Any) -> str:
    kind = volume_types.create(context('admin'), name=name, description=None, is_public=True, extra_specs={})
    type_encryption.create(context('admin'), kind.id, {**LUKS, **facts})
    return str(kind.id)


def encrypted(simulation: Simulation, **facts: Any) -> Volume:
    facts.setdefault('volume_type', 'LUKS')
    volume = create_volume(context(), 1, **facts)
    simulation.settle()
    return volume.reload()


def payload_of(record: Any) -> bytes:
    return keys.payload(Secret.find(record.project_id, record.encryption_key_id))


def ids() -> set[str]:
    return {secret.id for secret in Secret.scan()}


class TestBuiltIn:
    @pytest.mark.parametrize(('bits', 'length'), [(256, 32), (512, 64), (None, 32)])
    def test_a_new_volume_has_a_key(self, simulation: Simulation, bits: int | None, length: int) -> None:
        luks_type(key_size=bits)
        volume = encrypted(simulation)
        secret = Secret.find(volume.project_id, str(volume.encryption_key_id))
        assert (secret.algorithm, secret.bit_length, len(keys.payload(secret))) == ('aes', length * 8, length)
        assert volume.status == 'available'
        invariants.check(simulation)

    def test_each_its_own(self, simulation: Simulation) -> None:
        luks_type()
        one, other = encrypted(simulation), encrypted(simulation)
        assert payload_of(one) != payload_of(other)

    def test_a_volume_of_another_type_has_none(self, simulation: Simulation) -> None:
        luks_type()
        assert encrypted(simulation, volume_type=None).encryption_key_id is None
        assert ids() == set()

    def test_it_opens_for_itself_only(self, simulation: Simulation) -> None:
        luks_type()
        volume = encrypted(simulation)
        moved = Secret.find(volume.project_id, str(volume.encryption_key_id))
        moved.project_id = 'another'
        with pytest.raises(errors.AwsRefused) as refused:
            keys.payload(moved)
        assert refused.value.facts['code'] == 'InvalidCiphertextException'

    def test_nothing_is_in_clear_anywhere(
        self, simulation: Simulation, data: Data, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level('DEBUG')
        luks_type()
        volume = encrypted(simulation)
        create_backup(context(), volume)
        simulation.settle()
        secret = payload_of(volume)
        told = [
            *(str([record.attribute_values for record in table.scan()]) for table in TABLES),
            *(str(one.payload) for one in simulation.executions.values()),
            caplog.text,
        ]
        for text in told:
            assert secret.hex() not in text

    def test_it_goes_with_the_volume(self, simulation: Simulation) -> None:
        luks_type()
        volume = encrypted(simulation)
        volumes.delete(context(), volume.id)
        assert ids() == {volume.encryption_key_id}
        simulation.settle()
        assert ids() == set()

    def test_it_stays_while_the_data_does(self, simulation: Simulation) -> None:
        luks_type()
        volume = encrypted(simulation)
        simulation.backends[str(volume.host).partition('#')[0]].fail('delete_volume', simulation.big.refuses())
        volumes.delete(context(), volume.id)
        simulation.settle()
        assert volume.reload().status == 'error_deleting'
        assert ids() == {volume.encryption_key_id}

    def test_a_volume_that_was_never_placed(self, simulation: Simulation) -> None:
        luks_type()
        volume = create_volume(context(), 500, volume_type='LUKS')
        simulation.settle()
        assert volume.reload().status == 'error'
        volumes.delete(context(), volume.id)
        assert ids() == set()

    def test_a_refused_volume_leaves_none(self, simulation: Simulation) -> None:
        luks_type()
        for _ in range(10):
            create_volume(context(), 1, volume_type='LUKS')
        with pytest.raises(errors.OverQuota):
            create_volume(context(), 1, volume_type='LUKS')
        assert len(ids()) == 10

    def test_clone_and_snapshot(self, simulation: Simulation) -> None:
        """The copy holds the source's bytes, so the same key opens it; under an id of its own, it outlives it."""
        luks_type()
        volume = encrypted(simulation)
        snapshot = create_snapshot(context(), volume)
        simulation.settle()
        clone = encrypted(simulation, source_volid=volume.id, volume_type=None)
        restored = encrypted(simulation, snapshot_id=snapshot.id, volume_type=None)
        assert payload_of(clone) == payload_of(restored) == payload_of(volume)
        assert len({clone.encryption_key_id, restored.encryption_key_id, volume.encryption_key_id}) == 3
        volumes.delete(context(), volume.id, cascade=True)
        simulation.settle()
        assert ids() == {clone.encryption_key_id, restored.encryption_key_id}

    def test_an_administrators_clone_is_the_administrators(self, simulation: Simulation) -> None:
        luks_type()
        volume = encrypted(simulation)
        admin = context('admin', 'operations')
        clone = create_volume(admin, 1, source_volid=volume.id)
        simulation.settle()
        assert payload_of(clone.reload()) == payload_of(volume)
        assert Secret.find('operations', str(clone.encryption_key_id)).user_id == 'admin-user'

    def test_a_key_changes_its_project_with_its_volume(self, simulation: Simulation) -> None:
        luks_type()
        volume = encrypted(simulation)
        opened, id = payload_of(volume), str(volume.encryption_key_id)
        transaction = base.Transaction()
        keys.add_transfer_to(transaction, context(project_id='taker'), volume.project_id, id)
        transaction.commit()
        assert keys.payload(keys.get(context(project_id='taker'), id)) == opened
        with pytest.raises(errors.SecretNotFound):
            keys.get(context(), id)
        again = base.Transaction()
        keys.add_transfer_to(again, context(project_id='taker'), 'taker', id)
        keys.add_transfer_to(again, context(project_id='taker'), 'taker', None)
        assert ids() == {id}

    def test_connection_info_says_so(self, simulation: Simulation) -> None:
        luks_type()
        volume = encrypted(simulation)
        connector = {'host': 'compute', 'initiator': 'iqn.x:1', 'ip': '10.0.0.1'}
        made = attachments.create(context(), volume_id=volume.id, instance_id=None, connector=connector, mode=None)
        assert made.connection_info['encrypted'] is True
        assert 'key' not in str(made.connection_info)

    def test_encryption_must_not_change_on_the_way(self, simulation: Simulation) -> None:
        luks_type()
        specs = {'volume_backend_name': 'big'}
        volume_types.create(context('admin'), name='plain', description=None, is_public=True, extra_specs=specs)
        plain = encrypted(simulation, volume_type='plain')
        type_specs.set_(context('admin'), volume_types.find(context(), 'LUKS').id, specs)
        locked = encrypted(simulation)
        with pytest.raises(errors.InvalidInput, match='LUKS is encrypted, and the source is not'):
            create_volume(context(), 1, source_volid=plain.id, volume_type='LUKS')
        with pytest.raises(errors.InvalidInput, match='plain is not encrypted, and the source is encrypted'):
            create_volume(context(), 1, source_volid=locked.id, volume_type='plain')

    def test_no_multiattach(self, simulation: Simulation) -> None:
        kind = luks_type()
        type_specs.set_(context('admin'), kind, {'multiattach': '<is> True'})
        with pytest.raises(errors.InvalidVolume, match='multiattach'):
            create_volume(context(), 1, volume_type='LUKS')


class TestBackups:
    def test_a_backup_outlives_its_volume(self, simulation: Simulation, data: Data) -> None:
        luks_type()
        volume = encrypted(simulation)
        data.of(volume).fill(seed=1)
        original = payload_of(volume)
        backup = create_backup(context(), volume)
        simulation.settle()
        volumes.delete(context(), volume.id)
        simulation.settle()
        assert ids() == {backup.reload().encryption_key_id}
        restored = encrypted(simulation, backup_id=backup.id)
        assert (restored.status, payload_of(restored)) == ('available', original)
        backups.delete(context(), backup.id)
        simulation.settle()
        assert ids() == {restored.encryption_key_id}

    def test_restore_to_the_volume_itself_keeps_its_key(self, simulation: Simulation, data: Data) -> None:
        luks_type()
        volume = encrypted(simulation)
        backup = create_backup(context(), volume)
        simulation.settle()
        backups.restore(context(), backup.id, volume_id=volume.id, name=None)
        simulation.settle()
        assert volume.reload().encryption_key_id == volume.encryption_key_id
        assert len(ids()) == 2

    def test_restore_to_another_volume_brings_the_key_along(self, simulation: Simulation, data: Data) -> None:
        luks_type()
        volume, other = encrypted(simulation), encrypted(simulation)
        backup = create_backup(context(), volume)
        simulation.settle()
        backups.restore(context(), backup.id, volume_id=other.id, name=None)
        simulation.settle()
        assert payload_of(other.reload()) == payload_of(volume)
        assert len(ids()) == 3

    def test_a_restore_that_fails_keeps_the_old_key(self, simulation: Simulation, data: Data) -> None:
        luks_type()
        volume, other = encrypted(simulation), encrypted(simulation)
        data.of(volume).fill(seed=1)
        backup = create_backup(context(), volume)
        simulation.settle()
        backups.restore(context(), backup.id, volume_id=other.id, name=None)
        simulation.backends[str(other.host).partition('#')[0]].fail('write', *[RuntimeError('a bug')] * 20)
        simulation.settle()
        assert other.reload().status == 'error_restoring'
        assert other.reload().encryption_key_id == other.encryption_key_id
        assert len(ids()) == 3

    def test_without_a_name_it_gets_the_type_of_its_volume(self, simulation: Simulation, data: Data) -> None:
        luks_type()
        volume = encrypted(simulation)
        backup = create_backup(context(), volume)
        simulation.settle()
        _, target = backups.restore(context(), backup.id, volume_id=None, name=None)
        simulation.settle()
        assert payload_of(target.reload()) == payload_of(volume)

    def test_only_to_a_volume_that_is_encrypted(self, simulation: Simulation, data: Data) -> None:
        luks_type()
        volume, plain = encrypted(simulation), encrypted(simulation, volume_type=None)
        backup = create_backup(context(), volume)
        simulation.settle()
        with pytest.raises(errors.InvalidVolume, match='An encrypted backup is restored to an encrypted volume'):
            backups.restore(context(), backup.id, volume_id=plain.id, name=None)

    def test_removing_a_second_record_of_a_backup_keeps_the_key(self, simulation: Simulation, data: Data) -> None:
        """It was imported under another id: data and key are the first one's."""
        luks_type()
        volume = encrypted(simulation)
        backup = create_backup(context(), volume)
        simulation.settle()
        record = backup_records.export(context('admin'), backup.id)
        facts = json.loads(base64.b64decode(record['backup_url'])) | {'id': str(uuid.uuid4())}
        url = base64.b64encode(json.dumps(facts).encode()).decode()
        second = backup_records.import_(context('admin'), record['backup_service'], url)
        simulation.settle()
        before = ids()
        assert second.reload().encryption_key_id == backup.reload().encryption_key_id
        backups.delete(context(), second.id)
        simulation.settle()
        assert ids() == before
        backups.delete(context(), backup.id)
        simulation.settle()
        assert ids() == {volume.encryption_key_id}


class TestBesideBackups:
    """The key of an encrypted volume is beside its backup, sealed, and exists wherever the backup exists."""

    THERE = 'dr/project/volumebackups/'

    def backup(self, simulation: Simulation, data: Data) -> Backup:
        luks_type()
        volume = encrypted(simulation)
        data.of(volume).fill(seed=1)
        backup = create_backup(context(), volume)
        simulation.settle()
        return backup.reload()

    def copied(self, simulation: Simulation, backup: Backup) -> Backup:
        copy = backup_copies.create(context(), backup.id, target='dr', name=None, description=None)
        executions = simulation.settle()
        assert executions
        return copy.reload()

    def stored(self, data: Data, prefix: str) -> list[str]:
        found = data.repositories[prefix].objects if prefix in data.repositories else {}
        return [key for key in found if key.startswith('volume-keys/')]

    def test_it_travels_with_the_copy_and_opens_elsewhere(self, simulation: Simulation, data: Data) -> None:
        backup = self.backup(simulation, data)
        copy, original = self.copied(simulation, backup), payload_of(backup)
        assert (copy.status, copy.key_stored, copy.encryption_key_id != backup.encryption_key_id) == (
            'available',
            True,
            True,
        )
        record = backup_records.export(context('admin', project_id=copy.project_id), copy.id)
        for secret in list(Secret.scan()):  # the first region is gone
            secret.delete()
        for one in list(Backup.scan()):
            one.delete()
        imported = backup_records.import_(
            context('admin', project_id=copy.project_id), record['backup_service'], record['backup_url']
        )
        simulation.settle()
        imported = imported.reload()
        assert (imported.status, imported.key_imported) == ('available', True), imported.fail_reason
        assert imported.encryption_key_id == copy.encryption_key_id
        assert payload_of(imported) == original
        restored = encrypted(simulation, backup_id=imported.id)
        assert (restored.status, payload_of(restored)) == ('available', original)
        backups.delete(context('admin', project_id=copy.project_id), imported.id)
        simulation.settle()
        assert ids() == {restored.encryption_key_id}, 'the key that came with the record is deleted with it'
        assert self.stored(data, self.THERE), 'another deployment owns the data'

    def test_an_import_into_another_project_takes_no_key(self, simulation: Simulation, data: Data) -> None:
        copy = self.copied(simulation, self.backup(simulation, data))
        record = backup_records.export(context('admin'), copy.id)
        for one in [*Secret.scan(), *Backup.scan()]:
            one.delete()
        imported = backup_records.import_(
            context('admin', project_id='curious'), record['backup_service'], record['backup_url']
        )
        simulation.settle()
        assert (imported.reload().status, ids()) == ('available', set())

    def test_an_import_beside_another_key_of_that_id_is_refused(self, simulation: Simulation, data: Data) -> None:
        copy = self.copied(simulation, self.backup(simulation, data))
        admin = context('admin', project_id=copy.project_id)
        record = backup_records.export(admin, copy.id)
        secret = Secret.find(copy.project_id, str(copy.encryption_key_id))
        purpose = keys.purpose(secret.project_id, secret.id)
        secret.update(actions=[Secret.sealed.set(aws.seal('00' * 32, purpose))])
        Backup.find(copy.project_id, copy.id).delete()
        imported = backup_records.import_(admin, record['backup_service'], record['backup_url'])
        simulation.settle()
        assert imported.reload().status == 'error'
        assert 'another key' in imported.reload().fail_reason
        assert payload_of(copy) == bytes(32), 'it is not overwritten'

    def test_it_goes_with_the_backup(self, simulation: Simulation, data: Data) -> None:
        backup = self.backup(simulation, data)
        copy = self.copied(simulation, backup)
        here = 'project/volumebackups/'
        assert self.stored(data, here)
        for one, place in ((backup, here), (copy, self.THERE)):
            backups.delete(context(), one.id)
            simulation.settle()
            assert self.stored(data, place) == []
        invariants.check(simulation)

    @pytest.mark.parametrize('repeats', [1, 2])
    def test_a_copy_without_it_gets_it_when_it_is_copied_again(
        self, simulation: Simulation, data: Data, repeats: int
    ) -> None:
        """As an older release left it. A third copy is refused as ever."""
        backup = self.backup(simulation, data)
        copy = self.copied(simulation, backup)
        copy.update(actions=[Backup.key_stored.remove()])
        data.repositories[self.THERE].delete(self.stored(data, self.THERE))
        again = backup_copies.create(context(), backup.id, target='dr', name=None, description=None)
        assert (again.id, again.reload().status) == (copy.id, 'available')
        if repeats == 2:
            with pytest.raises(errors.InvalidBackup, match='copy it again later'):
                backup_copies.create(context(), backup.id, target='dr', name=None, description=None)
        [execution] = simulation.settle()
        assert execution.path == ['CopyBackup', 'IsCopied', 'CompleteCopy']
        assert (copy.reload().status, copy.reload().key_stored) == ('available', True)
        assert self.stored(data, self.THERE)
        with pytest.raises(errors.InvalidBackup, match='copied there already'):
            backup_copies.create(context(), backup.id, target='dr', name=None, description=None)
        invariants.check(simulation)

    def test_a_copy_that_cannot_be_completed_stays_available(self, simulation: Simulation, data: Data) -> None:
        backup = self.backup(simulation, data)
        copy = self.copied(simulation, backup)
        copy.update(actions=[Backup.key_stored.remove()])
        [pack] = [key for key in data.repositories[self.THERE].objects if key.startswith('packs/')]
        data.repositories[self.THERE].put(pack, b'of another size')
        self.copied(simulation, backup)
        assert (copy.reload().status, copy.reload().key_stored) == ('available', None)
        assert [message.resource_uuid for message in Message.scan()] == [copy.id]

    def scrubbed(self, simulation: Simulation, backup: Backup) -> Any:
        backup_checks.scrub(context(), backup.id)
        simulation.settle()
        return backup.reload().scrub

    def test_a_scrub_opens_it(self, simulation: Simulation, data: Data) -> None:
        backup = self.backup(simulation, data)
        found = self.scrubbed(simulation, backup)
        assert (found['result'], found['key']) == ('passed', 'opens')

    @pytest.mark.parametrize('fault', ['lost', 'damaged', 'moved', 'other'])
    def test_a_scrub_finds_a_key_that_does_not_open(self, simulation: Simulation, data: Data, fault: str) -> None:
        backup = self.backup(simulation, data)
        repository = data.repositories['project/volumebackups/']
        [object_key] = self.stored(data, 'project/volumebackups/')
        if fault == 'lost':
            repository.delete([object_key])
        elif fault == 'damaged':
            repository.put(object_key, repository.get(object_key).data.replace(b'"user_id":"', b'"user_id":"x'))
        elif fault == 'moved':
            other = create_backup(context(), Volume.find(backup.project_id, backup.volume_id))
            simulation.settle()
            repository.put(object_key, repository.get(f'{object_key.rpartition("/")[0]}/{other.id}').data)
        else:
            secret = Secret.find(backup.project_id, str(backup.encryption_key_id))
            sealed = aws.seal('00' * 32, keys.purpose(secret.project_id, secret.id))
            secret.update(actions=[Secret.sealed.set(sealed)])
        found = self.scrubbed(simulation, backup)
        assert (found['result'], found['blocks_damaged']) == ('damaged', 1)
        assert payload_of(backup).hex() not in json.dumps(found)

    def test_a_scrub_of_an_older_backup_reports_that_none_is_stored(self, simulation: Simulation, data: Data) -> None:
        backup = self.backup(simulation, data)
        backup.update(actions=[Backup.key_stored.remove()])
        data.repositories['project/volumebackups/'].delete(self.stored(data, 'project/volumebackups/'))
        found = self.scrubbed(simulation, backup)
        assert (found['result'], found['key']) == ('passed', 'missing')

    def test_it_is_nowhere_in_clear(self, simulation: Simulation, data: Data, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level('DEBUG', 'chalicelib')
        for name in telemetry.LIBRARIES:
            caplog.set_level('WARNING', name)
        backup = self.backup(simulation, data)
        copy = self.copied(simulation, backup)
        self.scrubbed(simulation, copy)
        plain = payload_of(backup)
        forms = (plain, plain.hex().encode(), base64.b64encode(plain), base64.b64encode(plain.hex().encode()))
        places = [stored for one in data.repositories.values() for stored in one.objects.values()]
        places += [json.dumps(item.to_simple_dict(), default=str).encode() for kind in TABLES for item in kind.scan()]
        places.append(caplog.text.encode())
        assert not any(form in place for form in forms for place in places)


class TestBarbican:
    @pytest.fixture(autouse=True)
    def barbican(self, simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeBarbican]:
        with serving(FakeBarbican()) as running:
            monkeypatch.setattr(cloud, 'barbican', lambda: running.url)
            monkeypatch.setattr(cloud, 'secrets_of_caller', lambda: Secrets(running.url, cloud._CallerToken()))
            caller_token.set('project/member')
            yield running
            caller_token.set('')

    def test_the_key_lies_there_and_belongs_to_the_caller(self, simulation: Simulation, barbican: FakeBarbican) -> None:
        luks_type()
        volume = encrypted(simulation)
        project, record, payload = barbican.secrets[str(volume.encryption_key_id)]
        assert (project, record['algorithm'], record['bit_length'], len(payload)) == ('project', 'aes', 256, 32)
        assert ids() == set()

    def test_clone_backup_and_removal(self, simulation: Simulation, data: Data, barbican: FakeBarbican) -> None:
        luks_type()
        volume = encrypted(simulation)
        clone = encrypted(simulation, source_volid=volume.id, volume_type=None)
        backup = create_backup(context(), volume)
        simulation.settle()
        held = [str(one.encryption_key_id) for one in (volume, clone, backup)]
        assert len({barbican.secrets[id][2] for id in held}) == 1
        for remove, one in ((volumes.delete, volume), (backups.delete, backup)):
            remove(context(), one.id)
        simulation.settle()
        assert set(barbican.secrets) == {clone.encryption_key_id}

    def test_a_refused_volume_leaves_none(self, simulation: Simulation, barbican: FakeBarbican) -> None:
        luks_type()
        for _ in range(10):
            create_volume(context(), 1, volume_type='LUKS')
        with pytest.raises(errors.OverQuota):
            create_volume(context(), 1, volume_type='LUKS')
        assert len(barbican.secrets) == 10

    def test_one_that_is_down(self, simulation: Simulation, barbican: FakeBarbican) -> None:
        luks_type()
        barbican.faults = [500]
        with pytest.raises(errors.ServiceUnavailable):
            create_volume(context(), 1, volume_type='LUKS')
        assert list(Volume.scan()) == []
        volume = encrypted(simulation)
        barbican.faults = [500]
        volumes.delete(context(), volume.id)
        simulation.settle()
        assert list(Volume.scan()) == []

    def test_a_schedule_has_no_token(
        self, simulation: Simulation, data: Data, barbican: FakeBarbican, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is refused; one whose volume got such a key later records the error, and waits for its next time."""
        luks_type()
        volume = encrypted(simulation)
        monkeypatch.setattr(backup_copies, 'place_of', lambda name: name)
        for facts in ({}, {'action': 'copy', 'target': 'dr'}):
            with pytest.raises(errors.InvalidVolume, match='a schedule has none'):
                backup_schedules.create(context(), volume_id=volume.id, cron='0 * * * *', **facts)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cloud, 'barbican', lambda: None)
            schedule = backup_schedules.create(context(), volume_id=volume.id, cron='0 * * * *')
        schedule.update(actions=[BackupSchedule.next_run_at.set('2026-01-01T00:00:00.000000')])
        caller_token.set('')
        schedules.run()
        schedule = schedule.reload()
        assert 'a schedule has none' in str(schedule.last_error)
        assert schedule.next_run_at > base.now()
        [message] = Message.scan()
        assert (message.resource_uuid, message.action_id) == (schedule.id, '102')
        assert str(schedule.last_error) in message.user_message
        assert list(Backup.scan()) == []


def test_sealed_for_the_deployments_key(simulation: Simulation) -> None:
    assert aws.unseal(aws.seal('x', 'purpose'), 'purpose') == 'x'
