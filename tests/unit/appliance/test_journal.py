from __future__ import annotations

import dataclasses
import errno
import os
from pathlib import Path

import pytest

from appliance import journal as journal_module
from appliance.errors import Unavailable
from appliance.journal import Export, Journal, Record
from appliance.names import Key

KEY = Key('fast', 'volume-1')
EXPORT = Export('iqn.2026-01.a:h', 'rw', 'iqn.2010-10.org.openstack:volume-1')
RECORD = Record('volume-0', {'e1': EXPORT})


def journal(folder: Path) -> Journal:
    return Journal(folder, ['fast'])


def test_what_was_put_is_there_after_a_start(tmp_path: Path) -> None:
    journal(tmp_path).put(KEY, RECORD)
    again = journal(tmp_path)
    assert again.get(KEY) == RECORD
    assert again.items() == [(KEY, RECORD)]


def test_what_was_removed_is_gone_after_a_start(tmp_path: Path) -> None:
    first = journal(tmp_path)
    first.put(KEY, RECORD)
    for _ in range(2):
        first.remove(KEY)
    assert first.get(KEY) == Record()
    assert journal(tmp_path).items() == []


def test_a_record_is_replaced_as_a_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = journal(tmp_path)
    first.put(KEY, RECORD)
    with monkeypatch.context() as patch:
        patch.setattr(Path, 'replace', lambda *paths: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            first.put(KEY, Record('other'))
    assert journal(tmp_path).get(KEY) == RECORD
    assert [path.name for path in (tmp_path / 'fast').iterdir()] == ['volume-1.json']


@pytest.mark.parametrize('text', ['', '{', '[]', '{}', '{"source": "", "exports": {"e": {"initiator": "i"}}}'])
def test_a_damaged_record_is_set_aside_and_the_others_serve(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    first = journal(tmp_path)
    first.put(KEY, RECORD)
    first.put(Key('fast', 'volume-2'), RECORD)
    (tmp_path / 'fast' / 'volume-2.json').write_text(text)
    again = journal(tmp_path)
    assert again.items() == [(KEY, RECORD)]
    assert (tmp_path / 'fast' / 'volume-2.damaged').read_text() == text
    assert 'volume-2.json is damaged' in capsys.readouterr().err
    assert journal(tmp_path).items() == [(KEY, RECORD)]


def test_a_record_knows_its_targets() -> None:
    more = RECORD.with_export('e2', Export('iqn.2026-01.a:i', 'ro', 'iqn.x:volume-1.ro'))
    assert more.iqns == {EXPORT.iqn, 'iqn.x:volume-1.ro'}
    assert more.without_export('e2') == RECORD
    assert more.without_export('none') == more
    assert RECORD.exports == {'e1': EXPORT}


def test_an_export_that_is_ending_is_known_after_a_start(tmp_path: Path) -> None:
    journal(tmp_path).put(KEY, RECORD)
    assert 'ending' not in (tmp_path / 'fast' / 'volume-1.json').read_text(), 'an earlier version reads this'
    ending = RECORD.with_export('e1', dataclasses.replace(EXPORT, ending=True))
    journal(tmp_path).put(KEY, ending)
    assert journal(tmp_path).get(KEY) == ending


@pytest.mark.parametrize('step', ['open', 'fsync', 'replace', 'sync_folder'])
@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EIO])
def test_memory_is_what_a_start_would_read_when_the_state_folder_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, number: int
) -> None:
    """And a full state folder is not taken for a full pool."""
    first = journal(tmp_path)
    first.put(KEY, RECORD)

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    where = {'open': Path, 'fsync': os, 'replace': Path, 'sync_folder': journal_module}[step]
    with monkeypatch.context() as patch:
        patch.setattr(where, step, fail)
        with pytest.raises(Unavailable, match=os.strerror(number)):
            first.put(KEY, Record('other'))
    assert journal(tmp_path).get(KEY) == first.get(KEY)
    with monkeypatch.context() as patch:
        patch.setattr(journal_module, 'sync_folder', fail)
        with pytest.raises(Unavailable, match=os.strerror(number)):
            first.remove(KEY)
    assert journal(tmp_path).items() == first.items() == []
