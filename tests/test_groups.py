"""Tests that share a slow fixture run in one process of a distributed run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from infra.render import ROOT

MODULE = """
import os, pathlib, pytest
pytestmark = pytest.mark.xdist_group('probe')
@pytest.mark.parametrize('number', range(8))
def test_process(number):
    with open({log!r}, 'a') as log:
        log.write(f'{{os.getpid()}}\\n')
"""


def test_a_group_runs_in_one_process(tmp_path: Path) -> None:
    folder = ROOT / '.build' / 'groups'
    folder.mkdir(parents=True, exist_ok=True)
    module, log = folder / 'test_probe.py', tmp_path / 'log'
    module.write_text(MODULE.format(log=str(log)))
    options = ['-n', '2', '--dist', 'loadgroup', '-p', 'tests.groups', '-p', 'no:cacheprovider', '--noconftest']
    command = [sys.executable, '-m', 'pytest', *options, str(module)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    processes = log.read_text().split()
    assert len(processes) == 8
    assert len(set(processes)) == 1
