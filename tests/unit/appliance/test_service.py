"""The agent's verbs over a store that copies slowly (files) and one that copies at once (LVM)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from appliance.errors import Busy, Conflict, Full, Invalid, NoPool, NotFound, Unavailable
from appliance.names import Key
from tests.unit.appliance.agent_fixture import GIB, HOST, IQN, OTHER, SNAPSHOT, VOLUME, Rig
from tests.unit.appliance.fakes import FakeLvm

CLONE = Key('slow', 'volume-2')


def export(
    rig: Rig, export_id: str = 'e1', initiator: str = HOST, mode: str = 'rw', key: Key = VOLUME
) -> dict[str, Any]:
    return rig.appliance.create_export(key, export_id, initiator, mode)


class TestVolumes:
    def test_create_is_idempotent(self, rig: Rig) -> None:
        first = rig.appliance.create_volume(VOLUME, GIB)
        assert first == rig.appliance.create_volume(VOLUME, GIB) == rig.appliance.show(VOLUME)
        assert first == {'name': 'volume-1', 'size_bytes': GIB, 'source': '', 'exports': [], 'kept': 0}

    def test_another_size_is_a_conflict(self, rig: Rig) -> None:
        rig.appliance.create_volume(VOLUME, GIB)
        with pytest.raises(Conflict, match='exists'):
            rig.appliance.create_volume(VOLUME, 2 * GIB)

    def test_pools_are_kept_apart(self, rig: Rig) -> None:
        rig.appliance.create_volume(VOLUME, GIB)
        assert rig.appliance.list_objects('fast') == {'objects': ['volume-1']}
        assert rig.appliance.list_objects('slow') == {'objects': []}
        with pytest.raises(NotFound):
            rig.appliance.show(Key('slow', 'volume-1'))

    def test_an_unknown_pool_is_refused_by_every_verb(self, rig: Rig) -> None:
        key = Key('none', 'volume-1')
        verbs: list[Callable[[], Any]] = [
            lambda: rig.appliance.create_volume(key, GIB),
            lambda: rig.appliance.create_volume(VOLUME, GIB, {'volume': 'volume-2', 'pool': 'none'}),
            lambda: rig.appliance.extend_volume(key, GIB),
            lambda: rig.appliance.revert_volume(key, 'snapshot-1'),
            lambda: rig.appliance.delete(key),
            lambda: rig.appliance.create_snapshot(Key('none', 'snapshot-1'), 'volume-1'),
            lambda: rig.appliance.show(key),
            lambda: rig.appliance.list_objects('none'),
            lambda: rig.appliance.list_exports('none'),
            lambda: rig.appliance.create_export(key, 'e1', HOST, 'rw'),
            lambda: rig.appliance.delete_export(key, 'e1'),
            lambda: rig.appliance.delete_exports(key),
        ]
        for verb in verbs:
            with pytest.raises(NoPool):
                verb()

    @pytest.mark.parametrize('source', [{'volume': 'volume-1'}, {'snapshot': 'snapshot-1'}])
    def test_a_copy_into_another_pool_outlives_its_source(self, files: Rig, source: dict[str, str]) -> None:
        files.appliance.create_volume(VOLUME, GIB)
        files.write(VOLUME, b'data')
        files.appliance.create_snapshot(SNAPSHOT, 'volume-1')
        for _ in range(2):
            made = files.appliance.create_volume(CLONE, 2 * GIB, {**source, 'pool': 'fast'})
        assert made['source'] == next(iter(source.values()))
        files.appliance.delete(VOLUME)
        files.appliance.delete(SNAPSHOT)
        assert files.read(CLONE, 5) == b'data\0'

    def test_a_copy_is_never_smaller_than_its_source(self, rig: Rig) -> None:
        rig.appliance.create_volume(VOLUME, 2 * GIB)
        with pytest.raises(Invalid, match='less than'):
            rig.appliance.create_volume(Key('fast', 'volume-2'), GIB, {'volume': 'volume-1'})
        assert rig.appliance.list_objects('fast') == {'objects': ['volume-1']}

    @pytest.mark.parametrize(
        'source', [{'volume': 'volume-9'}, {'snapshot': 'snapshot-9'}, {'existing': 'other'}, {'volume': 'volume-2'}]
    )
    def test_a_source_must_exist(self, rig: Rig, source: dict[str, str]) -> None:
        with pytest.raises(NotFound):
            rig.appliance.create_volume(Key('fast', 'volume-2'), GIB, source)
        assert rig.appliance.list_objects('fast') == {'objects': []}
        assert rig.journal.items() == []

    @pytest.mark.parametrize(
        'source',
        [{'volume': 'a', 'snapshot': 'b'}, {'pool': 'fast'}, {'volume': '../x'}, {'backup': 'b'},
         {'volume': 'snapshot-1'}, {'volume': 'volume-1', 'more': 'x'}, {'volume': 'volume-1', 'pool': '..'}],
    )  # fmt: skip
    def test_a_source_is_one_name(self, rig: Rig, source: dict[str, str]) -> None:
        with pytest.raises(Invalid):
            rig.appliance.create_volume(VOLUME, GIB, source)

    def test_what_never_fits_is_refused(self, rig: Rig) -> None:
        with pytest.raises(Full):
            rig.appliance.create_volume(VOLUME, 17 * GIB)
        rig.appliance.create_volume(VOLUME, 8 * GIB)
        with pytest.raises(Full):
            rig.appliance.extend_volume(VOLUME, 17 * GIB)
        rig.appliance.create_snapshot(SNAPSHOT, 'volume-1')
        with pytest.raises(Full, match='cannot hold'):
            rig.appliance.create_volume(Key('fast', 'volume-2'), GIB)

    def test_a_copy_that_fails_leaves_nothing(self, lvm: Rig) -> None:
        lvm.appliance.create_volume(VOLUME, GIB)
        assert lvm.lvm is not None
        lvm.lvm.full = 'Insufficient free space: 1 extents needed, but only 0 available'
        with pytest.raises(Full):
            lvm.appliance.create_snapshot(SNAPSHOT, 'volume-1')
        assert lvm.appliance.list_objects('fast') == {'objects': ['volume-1']}
        assert lvm.journal.items() == []

    def test_extend_grows_what_initiators_see(self, rig: Rig) -> None:
        rig.appliance.create_volume(VOLUME, GIB)
        export(rig)
        for size in (2 * GIB, 2 * GIB, GIB):
            assert rig.appliance.extend_volume(VOLUME, size)['size_bytes'] == 2 * GIB
        lun = rig.target().lun
        assert lun is not None
        assert lun.size == 2 * GIB
        rig.login('e1')

    def test_extend_again_does_not_disturb_sessions(self, rig: Rig) -> None:
        rig.appliance.create_volume(VOLUME, GIB)
        export(rig)
        rig.appliance.extend_volume(VOLUME, 2 * GIB)
        sid = rig.login('e1')
        rig.appliance.extend_volume(VOLUME, 2 * GIB)
        assert sid in rig.target().sessions

    def test_an_existing_object_comes_under_a_volume_s_name(self, rig: Rig) -> None:
        rig.store.create(Key('fast', 'foreign'), GIB // 2)
        for _ in range(2):
            rig.appliance.create_volume(VOLUME, GIB, {'existing': 'foreign'})
        assert rig.appliance.list_objects('fast') == {'objects': ['volume-1']}
        assert rig.store.size(VOLUME) == GIB

    def test_somebody_s_volume_is_not_taken_from_under_him(self, rig: Rig) -> None:
        rig.appliance.create_volume(VOLUME, GIB)
        export(rig)
        with pytest.raises(Busy, match='exported'):
            rig.appliance.create_volume(Key('fast', 'volume-2'), GIB, {'existing': 'volume-1'})
        with pytest.raises(Invalid):
            rig.appliance.create_volume(CLONE, GIB, {'existing': 'volume-1', 'pool': 'fast'})


class TestSnapshots:
    def test_a_snapshot_is_of_one_volume(self, rig: Rig) -> None:
        for name in ('volume-1', 'volume-2'):
            rig.appliance.create_volume(Key('fast', name), GIB)
        for _ in range(2):
            rig.appliance.create_snapshot(SNAPSHOT, 'volume-1')
        with pytest.raises(Conflict):
            rig.appliance.create_snapshot(SNAPSHOT, 'volume-2')
        assert rig.appliance.show(SNAPSHOT)['source'] == 'volume-1'

    def test_a_slow_store_refuses_what_would_be_torn(self, files: Rig) -> None:
        files.appliance.create_volume(VOLUME, GIB)
        export(files, 'reader', mode='ro')
        files.appliance.create_snapshot(SNAPSHOT, 'volume-1')
        export(files)
        with pytest.raises(Busy, match='detach'):
            files.appliance.create_snapshot(Key('fast', 'snapshot-2'), 'volume-1')
        with pytest.raises(Busy, match='detach'):
            files.appliance.create_volume(CLONE, GIB, {'volume': 'volume-1', 'pool': 'fast'})
        files.appliance.create_snapshot(SNAPSHOT, 'volume-1')

    def test_a_quick_store_does_not(self, lvm: Rig) -> None:
        lvm.appliance.create_volume(VOLUME, GIB)
        export(lvm)
        lvm.appliance.create_snapshot(SNAPSHOT, 'volume-1')

    def test_revert_brings_back_data_and_keeps_size_and_paths(self, files: Rig) -> None:
        files.appliance.create_volume(VOLUME, GIB)
        files.write(VOLUME, b'old')
        files.appliance.create_snapshot(SNAPSHOT, 'volume-1')
        files.write(VOLUME, b'new')
        export(files)
        files.appliance.extend_volume(VOLUME, 2 * GIB)
        for _ in range(2):
            files.appliance.revert_volume(VOLUME, 'snapshot-1')
        assert files.read(VOLUME, 3) == files.read(SNAPSHOT, 3) == b'old'
        lun = files.target().lun
        assert lun is not None
        assert lun.size == files.store.size(VOLUME) == 2 * GIB
        files.login('e1')

    def test_revert_is_refused_in_use_and_to_another_s_snapshot(self, rig: Rig) -> None:
        for name in ('volume-1', 'volume-2'):
            rig.appliance.create_volume(Key('fast', name), GIB)
        rig.appliance.create_snapshot(SNAPSHOT, 'volume-1')
        with pytest.raises(Invalid, match='not a snapshot of'):
            rig.appliance.revert_volume(Key('fast', 'volume-2'), 'snapshot-1')
        export(rig)
        sid = rig.login('e1')
        with pytest.raises(Busy, match=HOST):
            rig.appliance.revert_volume(VOLUME, 'snapshot-1')
        assert sid in rig.target().sessions

    def test_a_revert_has_tgtd_close_what_it_replaces(self, lvm: Rig) -> None:
        """LVM removes no volume that is open, and tgtd has it open for as long as there is an export."""
        lvm.appliance.create_volume(VOLUME, GIB)
        lvm.appliance.create_snapshot(SNAPSHOT, 'volume-1')
        export(lvm)
        assert lvm.lvm is not None
        old = lvm.lvm.volumes['volume-1']
        for _ in range(2):
            lvm.appliance.revert_volume(VOLUME, 'snapshot-1')
        assert lvm.lvm.volumes.keys() == {'volume-1', '_snapshot-1'}
        assert lvm.lvm.volumes['volume-1'] is not old
        lvm.login('e1')

    def test_a_revert_that_fails_lets_hosts_back_in(self, lvm: Rig) -> None:
        lvm.appliance.create_volume(VOLUME, GIB)
        lvm.appliance.create_snapshot(SNAPSHOT, 'volume-1')
        export(lvm)
        assert lvm.lvm is not None
        lvm.lvm.full = 'Insufficient free space: 1 extents needed, but only 0 available'
        with pytest.raises(Full):
            lvm.appliance.revert_volume(VOLUME, 'snapshot-1')
        lvm.login('e1')


class TestExports:
    def test_the_same_export_again_is_the_same_answer(self, rig: Rig) -> None:
        rig.appliance.create_volume(VOLUME, GIB)
        answer = export(rig)
        sid = rig.login('e1')
        assert export(rig) == answer
        assert sid in rig.target().sessions
        assert (answer['iqn'], answer['lun'], answer['portals']) == (IQN, 1, ['192.0.2.1:3260'])

    def test_no_answer_and_no_record_holds_a_secret(self, rig: Rig) -> None:
        rig.appliance.create_volume(VOLUME, GIB)
        secret = rig.account('e1').secret
        assert secret not in str(export(rig))
        assert secret not in (rig.folder / 'journal/fast/volume-1.json').read_text()
        assert secret in rig.tgt.passwords.values()

    def test_an_export_in_use_is_one_initiator_s(self, rig: Rig) -> None:
        rig.appliance.create_volume(VOLUME, GIB)
        export(rig)
        sid = rig.login('e1')
        for initiator, mode in ((OTHER, 'rw'), (HOST, 'ro')):
            with pytest.raises(Conflict, match=HOST):
                export(rig, 'e1', initiator, mode)
        assert rig.target().sessions == {sid: HOST}

    def test_an_export_that_nobody_uses_is_replaced(self, rig: Rig) -> None:
        rig.appliance.create_volume(VOLUME, GIB)
        export(rig)
        export(rig, 'e1', OTHER, 'ro')
        assert [target.iqn for target in rig.tgt.live.values()] == [f'{IQN}.ro']
        with pytest.raises(PermissionError):
            rig.login('e1', HOST, f'{IQN}.ro')
        rig.login('e1', OTHER, f'{IQN}.ro')

    def test_each_export_has_a_target_of_its_own(self, rig: Rig) -> None:
        rig.appliance.create_volume(VOLUME, GIB)
        iqns = [export(rig, f'e{n}', name)['iqn'] for n, name in enumerate([HOST, OTHER, HOST])]
        assert iqns == [IQN, f'{IQN}.2', f'{IQN}.3']
        rig.appliance.delete_export(VOLUME, 'e1')
        assert export(rig, 'e9')['iqn'] == f'{IQN}.2'

    def test_an_account_admits_its_own_initiator_only(self, rig: Rig) -> None:
        rig.appliance.create_volume(VOLUME, GIB)
        export(rig, 'a', HOST)
        export(rig, 'b', OTHER)
        for iqn in (IQN, f'{IQN}.2'):
            with pytest.raises(PermissionError):
                rig.login('a', OTHER, iqn)

    def test_taking_one_export_away_ends_its_sessions_only(self, rig: Rig) -> None:
        rig.appliance.create_volume(VOLUME, GIB)
        for export_id, name in (('e1', HOST), ('e2', OTHER), ('e3', HOST)):
            export(rig, export_id, name)
        rig.login('e1')
        kept, third = rig.login('e2', OTHER, f'{IQN}.2'), rig.login('e3', HOST, f'{IQN}.3')
        for _ in range(2):
            rig.appliance.delete_export(VOLUME, 'e1')
        assert rig.target(f'{IQN}.2').sessions == {kept: OTHER}
        assert rig.target(f'{IQN}.3').sessions == {third: HOST}
        with pytest.raises(PermissionError):
            rig.login('e1')

    def test_a_login_that_is_held_open_does_not_outlive_its_export(self, rig: Rig) -> None:
        """tgt finds the target by its number when a login ends: a later target must not have that number."""
        rig.appliance.create_volume(VOLUME, GIB)
        export(rig)
        half = rig.tgt.begin_login(IQN, HOST, *rig.account('e1'))
        rig.appliance.delete_export(VOLUME, 'e1')
        rig.appliance.create_volume(Key('fast', 'volume-2'), GIB)
        export(rig, 'e1', OTHER, key=Key('fast', 'volume-2'))
        with pytest.raises(PermissionError):
            rig.tgt.finish_login(*half)

    def test_the_last_path_takes_the_target_along(self, rig: Rig) -> None:
        rig.appliance.create_volume(VOLUME, GIB)
        export(rig)
        rig.appliance.delete_export(VOLUME, 'e1')
        assert rig.tgt.live == {}
        assert not [user for user in rig.tgt.passwords if not user.startswith('cinderless-')]
        assert rig.appliance.list_exports('fast') == {'exports': []}

    def test_all_paths_at_once(self, rig: Rig) -> None:
        rig.appliance.create_volume(VOLUME, GIB)
        for export_id, mode in (('e1', 'rw'), ('e2', 'ro'), ('e3', 'rw')):
            export(rig, export_id, mode=mode)
        for _ in range(2):
            rig.appliance.delete_exports(VOLUME)
        assert rig.tgt.live == {}

    def test_a_read_only_path_has_a_read_only_lun(self, rig: Rig) -> None:
        rig.appliance.create_volume(VOLUME, GIB)
        export(rig)
        answer = export(rig, 'e2', mode='ro')
        reader = rig.target(answer['iqn']).lun
        writer = rig.target().lun
        assert reader is not None
        assert writer is not None
        assert (answer['iqn'], reader.facts['readonly'], writer.facts['readonly']) == (f'{IQN}.ro', '1', '0')

    def test_a_snapshot_is_read_only(self, rig: Rig) -> None:
        rig.appliance.create_volume(VOLUME, GIB)
        rig.appliance.create_snapshot(SNAPSHOT, 'volume-1')
        with pytest.raises(Invalid, match='snapshot'):
            export(rig, key=SNAPSHOT)
        answer = export(rig, key=SNAPSHOT, mode='ro')
        lun = rig.target(answer['iqn']).lun
        assert lun is not None
        assert lun.facts['readonly'] == '1'
        assert answer['iqn'].endswith(':snapshot-1')

    def test_an_export_that_cannot_be_served_is_not_promised(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        rig.appliance.create_volume(VOLUME, GIB)
        monkeypatch.setattr(rig.tgt, '_account_new', lambda *a, **k: 2)
        with pytest.raises(Unavailable):
            export(rig)
        assert rig.journal.get(VOLUME).exports == {}
        assert rig.tgt.live == {}

    def test_one_that_was_promised_stays_promised(self, rig: Rig) -> None:
        rig.appliance.create_volume(VOLUME, GIB)
        export(rig)
        rig.start()
        rig.tgt.live.clear()
        rig.exports._targets._live.clear()
        rig.tgt._size_of = lambda path: (_ for _ in ()).throw(OSError)
        with pytest.raises(Unavailable):
            export(rig)
        assert 'e1' in rig.journal.get(VOLUME).exports

    def test_sessions_are_listed_with_their_object(self, rig: Rig) -> None:
        rig.appliance.create_volume(VOLUME, GIB)
        export(rig)
        rig.login('e1')
        assert rig.appliance.list_sessions() == {
            'sessions': [{'pool': 'fast', 'object': 'volume-1', 'iqn': IQN, 'initiator': HOST, 'address': '192.0.2.9'}]
        }


class TestDelete:
    def test_delete_takes_paths_along_and_is_idempotent(self, rig: Rig) -> None:
        rig.appliance.create_volume(VOLUME, GIB)
        export(rig)
        for _ in range(2):
            assert rig.appliance.delete(VOLUME) == {}
        assert rig.tgt.live == {}
        assert rig.journal.items() == []
        assert rig.appliance.list_objects('fast') == {'objects': []}

    def test_what_is_in_use_stays(self, rig: Rig) -> None:
        rig.appliance.create_volume(VOLUME, GIB)
        export(rig, 'e1', mode='ro')
        export(rig, 'e2')
        rig.login('e2')
        with pytest.raises(Busy, match=HOST):
            rig.appliance.delete(VOLUME)
        assert rig.store.size(VOLUME) == GIB
        rig.login('e1', HOST, f'{IQN}.ro')

    def test_a_name_can_be_had_again(self, rig: Rig) -> None:
        rig.appliance.create_volume(VOLUME, GIB)
        rig.appliance.create_snapshot(SNAPSHOT, 'volume-1')
        rig.appliance.delete(SNAPSHOT)
        rig.appliance.create_volume(Key('fast', 'volume-2'), GIB)
        rig.appliance.create_snapshot(SNAPSHOT, 'volume-2')


class TestStart:
    def test_a_start_serves_every_export_again(self, rig: Rig) -> None:
        rig.appliance.create_volume(VOLUME, GIB)
        rig.appliance.create_snapshot(SNAPSHOT, 'volume-1')
        export(rig)
        export(rig, 'e2', mode='ro')
        export(rig, 'e3', mode='ro', key=SNAPSHOT)
        rig.start()
        rig.login('e1')
        rig.login('e2', HOST, f'{IQN}.ro')
        assert len(rig.tgt.live) == 3

    def test_a_tgtd_that_went_on_keeps_its_sessions(self, rig: Rig) -> None:
        rig.appliance.create_volume(VOLUME, GIB)
        export(rig)
        sid = rig.login('e1')
        rig.start(rig.tgt)
        assert rig.target().sessions == {sid: HOST}
        rig.login('e1')
        rig.appliance.delete_export(VOLUME, 'e1')
        assert rig.tgt.live == {}

    def test_a_record_without_its_object_is_dropped(self, rig: Rig) -> None:
        rig.appliance.create_volume(VOLUME, GIB)
        export(rig)
        rig.tgt.live.clear()  # the host died
        rig.store.delete(VOLUME)
        rig.start()
        assert rig.journal.items() == []
        assert rig.tgt.live == {}

    def test_one_export_that_cannot_be_served_does_not_keep_the_others_away(
        self, rig: Rig, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ('volume-1', 'volume-2'):
            rig.appliance.create_volume(Key('fast', name), GIB)
            export(rig, 'e1', key=Key('fast', name))
        path, size_of = rig.store.path(VOLUME), Rig._size_of

        def broken(self: Rig, asked: str) -> int:
            if asked == path:
                raise OSError
            return size_of(self, asked)

        monkeypatch.setattr(Rig, '_size_of', broken)
        rig.start()
        assert 'exports of fast/volume-1 are not served' in capsys.readouterr().err
        assert [target.iqn for target in rig.tgt.live.values()] == [IQN.replace('volume-1', 'volume-2')]


def test_the_report_counts_every_object(rig: Rig) -> None:
    rig.appliance.create_volume(VOLUME, GIB)
    rig.appliance.create_snapshot(SNAPSHOT, 'volume-1')
    report = rig.appliance.capacity()
    fast = next(pool for pool in report['pools'] if pool['name'] == 'fast')
    assert (fast['total_bytes'], fast['provisioned_bytes'], fast['objects']) == (8 * GIB, 2 * GIB, 2)
    assert report['copies_attached'] is (rig.lvm is not None)
    assert rig.appliance.health()['status'] == 'ok'


class TestGroups:
    """Snapshots of several volumes at the same time."""

    SNAPSHOTS: ClassVar = {Key('fast', 'snapshot-1'): 'volume-1', Key('slow', 'snapshot-2'): 'volume-2'}

    @pytest.fixture
    def paused(self, tmp_path: Path) -> tuple[Rig, list[set[str]]]:
        """An agent whose store copies at once, and the objects at each begin and end of a pause."""
        seen: list[set[str]] = []
        rig = Rig(tmp_path, FakeLvm())

        @contextlib.contextmanager
        def pause() -> Iterator[None]:
            seen.append({name for pool in ('fast', 'slow') for name in rig.store.objects(pool)})
            yield
            seen.append({name for pool in ('fast', 'slow') for name in rig.store.objects(pool)})

        rig.pause = pause
        rig.start()
        for key in (VOLUME, CLONE):
            rig.appliance.create_volume(key, GIB)
        return rig, seen

    def test_hosts_wait_while_several_volumes_are_copied(self, paused: tuple[Rig, list[set[str]]]) -> None:
        rig, seen = paused
        export(rig)
        export(rig, key=CLONE)
        for _ in range(2):
            assert len(rig.appliance.create_snapshots(self.SNAPSHOTS)['snapshots']) == 2
        assert seen == [{'volume-1', 'volume-2'}, {'volume-1', 'volume-2', 'snapshot-1', 'snapshot-2'}]
        assert rig.appliance.capacity()['copies_groups'] is True

    def test_and_not_for_less(self, paused: tuple[Rig, list[set[str]]]) -> None:
        """One that is written to is consistent alone; those that are only read may be of any time."""
        rig, seen = paused
        export(rig)
        export(rig, mode='ro', key=CLONE)
        rig.appliance.create_snapshots(self.SNAPSHOTS)
        assert seen == []

    def test_who_cannot_keep_hosts_waiting_says_so(self, rig: Rig) -> None:
        for key in (VOLUME, CLONE):
            rig.appliance.create_volume(key, GIB)
            export(rig, key=key)
        with pytest.raises(Busy, match='detach'):
            rig.appliance.create_snapshots(self.SNAPSHOTS)
        assert rig.appliance.capacity()['copies_groups'] is False
        assert rig.appliance.list_objects('slow') == {'objects': ['volume-2']}
        rig.appliance.delete_exports(CLONE)
        if rig.lvm:
            rig.appliance.create_snapshots(self.SNAPSHOTS)
        rig.appliance.delete_exports(VOLUME)
        rig.appliance.create_snapshots(self.SNAPSHOTS)
        assert rig.appliance.list_objects('slow') == {'objects': ['snapshot-2', 'volume-2']}

    def test_a_store_that_fails_on_the_way_leaves_none(self, paused: tuple[Rig, list[set[str]]]) -> None:
        rig, _ = paused
        assert rig.lvm is not None
        copy, copied = rig.store.copy, list[Key]()

        def broken(source: Key, target: Key, size: int) -> None:
            if copied:
                raise Full('no space')
            copied.append(target)
            copy(source, target, size)

        rig.store.copy = broken  # type: ignore[method-assign]
        with pytest.raises(Full):
            rig.appliance.create_snapshots(self.SNAPSHOTS)
        left = [rig.appliance.list_objects(pool)['objects'] for pool in ('fast', 'slow')]
        assert left == [['volume-1'], ['volume-2']]
        assert rig.journal.items() == []

    def test_another_volumes_snapshot_stays(self, paused: tuple[Rig, list[set[str]]]) -> None:
        rig, _ = paused
        rig.appliance.create_volume(Key('fast', 'volume-3'), GIB)
        rig.appliance.create_snapshot(SNAPSHOT, 'volume-3')
        with pytest.raises(Conflict, match='not a snapshot of volume-1'):
            rig.appliance.create_snapshots(self.SNAPSHOTS)
        assert rig.appliance.show(SNAPSHOT)['source'] == 'volume-3'
