"""Memory does not grow with the volume, nor requests and time with its holes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from chalicelib.backup.layout import GIB, MIB

#: Backs up, restores and scrubs a sparse file with 64 MiB in it; prints peak memory (KiB) and objects.
SCRIPT = """
import os, sys
from chalicelib.backup import engine
from chalicelib.backup.files import FileRepository
from chalicelib.backup.image import FileDevice
from chalicelib.backup.keys import RecoveryKeyWrapper
from chalicelib.backup.layout import MIB

size = int(sys.argv[1])
wrapper = RecoveryKeyWrapper.from_private(b'k' * 32)
repository = FileRepository('repository')
with FileDevice('volume', size) as volume:
    for number in range(64):
        volume.write(number * (size // 64), os.urandom(MIB))
    backup = engine.begin_backup(repository, wrapper, lineage='a', backup_id='one', size=size)
    for shard in engine.plan(size):
        engine.backup_shard(volume, repository, backup, shard.index)
    manifest = engine.commit_backup(repository, wrapper, backup, created_at='', metadata={})
    assert not engine.verify_backup(repository, manifest).damaged
    with FileDevice('target', size) as target:
        for shard in engine.plan(size):
            engine.restore_shard(target, repository, manifest, shard.index, target_is_zeroed=True)
        for number in range(64):
            assert target.read(number * (size // 64), MIB) == volume.read(number * (size // 64), MIB)
        assert sum(length for _, length in target.allocated(0, size)) == 64 * MIB
peak = open('/proc/self/status').read().partition('VmHWM:')[2].split()[0]  # getrusage would count the parent's, too
print(peak, manifest.object_count)
"""


def measure(folder: Path, size: int) -> tuple[int, int]:
    folder.mkdir()
    root = Path(__file__).parents[3]
    command = [sys.executable, '-c', SCRIPT, str(size)]
    environment = {'PYTHONPATH': str(root), 'PATH': ''}
    result = subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True)
    peak, objects = map(int, result.stdout.split())
    return peak * 1024, objects


@pytest.fixture(scope='module')
def peaks(tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[int, int]]:
    root = tmp_path_factory.mktemp('sparse')
    return {size: measure(root / str(size), size * GIB) for size in (1, 256)}


def test_memory_is_flat(peaks: dict[int, tuple[int, int]]) -> None:
    (small, _), (large, _) = peaks[1], peaks[256]
    assert large - small < 32 * MIB
    assert large < 256 * MIB


def test_a_hole_of_any_size_is_one_small_object_a_shard(peaks: dict[int, tuple[int, int]]) -> None:
    _, objects = peaks[256]
    assert objects <= 64 + 64 + 1
