"""The systemd unit of a local cloud, as systemd itself reads it."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cinderless import program
from local.__main__ import notify


def unit(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert program.main(['unit', *words]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize('folder', ['/var/lib/cinderless', '/srv/with space/100%', '/srv/"quoted"'])
def test_systemd_reads_it(folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / 'cinderless.service'
    path.write_text(unit(capsys, '--state-dir', folder, '--set', 'BACKENDS=@/etc/back ends.json'))
    done = subprocess.run(['systemd-analyze', 'verify', str(path)], capture_output=True, text=True, check=False)
    assert [line for line in done.stderr.splitlines() if 'cinderless.service' in line] == []
    assert done.returncode == 0, done.stderr


def test_it_starts_this_program_on_the_folder(capsys: pytest.CaptureFixture[str]) -> None:
    text = unit(capsys, '--state-dir', '/srv/a b')
    assert f'ExecStart="{sys.executable}" -m cinderless serve\n' in text
    assert 'Environment="STATE_DIR=/srv/a b"\n' in text


@pytest.mark.parametrize('setting', ['PORT', '=1', '1=2', 'A B=1', 'A=1\nExecStart=evil'])
def test_a_setting_that_is_none_is_refused(setting: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(['unit', '--set', setting]) == 2
    assert capsys.readouterr().out == ''


def test_the_server_reports_to_systemd_that_it_is_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / 'notify'))
        monkeypatch.setenv('NOTIFY_SOCKET', str(tmp_path / 'notify'))
        notify('READY=1')
        assert systemd.recv(100) == b'READY=1'
    monkeypatch.delenv('NOTIFY_SOCKET')
    notify('READY=1')
