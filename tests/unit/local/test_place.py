"""Where the storage host keeps volumes, by what the machine allows and by what is stored."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from local import place
from local.settings import Refused


def allow(monkeypatch: pytest.MonkeyPatch, *, user: int = 0, capabilities: int = place.CAP_SYS_ADMIN) -> None:
    monkeypatch.setattr(os, 'geteuid', lambda: user)
    monkeypatch.setattr(place, '_effective_capabilities', lambda: capabilities)
    monkeypatch.setattr(place, '_is_first_namespace', lambda: True)
    monkeypatch.setattr(place, 'LOOP_CONTROL', Path('/dev/null'))


def test_root_mounts_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    allow(monkeypatch)
    chosen = place.choose(tmp_path)
    assert (chosen.name, chosen.obstacle) == (place.IMAGE, '')
    assert chosen.option(tmp_path) == f'xfs-image:{tmp_path}/store.img:310G'


@pytest.mark.parametrize(
    ('user', 'capabilities', 'why'),
    [(1000, 0, 'not run as root'), (1000, place.CAP_SYS_ADMIN, 'not run as root'), (0, 0, 'no CAP_SYS_ADMIN')],
)
def test_others_use_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: int, capabilities: int, why: str
) -> None:
    allow(monkeypatch, user=user, capabilities=capabilities)
    chosen = place.choose(tmp_path)
    assert (chosen.name, chosen.option(tmp_path)) == (place.FOLDER, f'dir:{tmp_path}/store')
    assert why in chosen.obstacle


def test_a_container_with_the_capability_may_lack_loop_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    allow(monkeypatch)
    monkeypatch.setattr(place, 'LOOP_CONTROL', tmp_path / 'none')
    assert 'loop' in place.choose(tmp_path).obstacle
    monkeypatch.setattr(place, '_is_first_namespace', lambda: False)
    assert 'user namespace' in place.choose(tmp_path).obstacle


def test_volumes_that_are_stored_stay_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    allow(monkeypatch)
    (tmp_path / 'store').mkdir()
    assert place.choose(tmp_path) == (place.FOLDER, '')
    assert place.choose(tmp_path, fresh=True).name == place.IMAGE


def test_an_image_that_cannot_be_mounted_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start over a new, empty folder would lose every volume."""
    allow(monkeypatch, user=1000)
    (tmp_path / 'store.img').touch()
    with pytest.raises(Refused, match=r'store.img .*not run as root.*FRESH=1') as error:
        place.choose(tmp_path)
    assert '\n' not in str(error.value)
    assert place.choose(tmp_path, fresh=True).name == place.FOLDER


@pytest.mark.parametrize(('programs', 'used'), [('PROGRAMS', True), ('IMAGE_PROGRAMS', False)])
def test_a_missing_program_is_named_where_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, programs: str, used: bool
) -> None:
    monkeypatch.setattr(place, programs, ('no-such-program',))
    allow(monkeypatch)
    with pytest.raises(Refused, match=r'no-such-program is missing.*make setup'):
        place.choose(tmp_path)
    allow(monkeypatch, user=1000)
    if used:
        with pytest.raises(Refused, match='no-such-program is missing'):
            place.choose(tmp_path)
    else:
        assert place.choose(tmp_path).name == place.FOLDER
