"""A reader that is written from the document alone reads what the engine wrote: the document is complete and right."""

from __future__ import annotations

import ast
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from chalicelib.backup import engine
from chalicelib.backup.files import FileRepository
from chalicelib.backup.keys import RecoveryKeyWrapper
from tests.unit.backup import flows, reader
from tests.unit.backup.fakes import image

SIZE = 3 * flows.GEOMETRY.shard_size + 1536
DOCUMENT = Path(__file__).parents[3] / 'docs' / 'explanation' / 'backup-format.md'


def write_chain(root: Path) -> dict[str, bytes]:
    """Incrementals that share, change, grow and repeat blocks; one in the middle is deleted and swept."""
    repository, contents = FileRepository(root), {}
    data = image(SIZE, 1)
    block = flows.GEOMETRY.block_size
    data[block : 2 * block] = data[5 * block : 6 * block] = data[:block]
    for number in range(4):
        data[50_000 * number : 50_000 * number + 1000] = b'%1000d' % number
        data += image(512 * number, number)
        flows.back_up(repository, data, f'b{number}', f'b{number - 1}' if number else None)
        contents[f'b{number}'] = bytes(data)
    engine.delete_backup(repository, flows.LINEAGE, 'b1')
    flows.collect(repository, clock=lambda: 1e12)
    del contents['b1']
    return contents


def read(root: Path, backup_id: str, private: bytes = b'p' * 32) -> bytes:
    with tempfile.TemporaryFile() as output:
        reader.Reader(root, flows.LINEAGE, private).restore(backup_id, output)
        output.seek(0)
        return output.read()


def test_it_restores_every_backup_of_a_chain(tmp_path: Path) -> None:
    for backup_id, content in write_chain(tmp_path).items():
        assert read(tmp_path, backup_id) == content


def test_it_restores_copies(tmp_path: Path) -> None:
    """Each from a repository that has nothing else, with the key of that place."""
    there = RecoveryKeyWrapper.from_private(b'q' * 32)
    contents = write_chain(tmp_path / 'here')
    here = FileRepository(tmp_path / 'here')
    for backup_id, content in contents.items():
        copy = tmp_path / backup_id
        engine.copy_backup(here, FileRepository(copy), flows.load(here, backup_id), flows.WRAPPER, there)
        assert read(copy, backup_id, b'q' * 32) == content


def test_it_restores_the_format_s_own_geometry(tmp_path: Path) -> None:
    data = image(5 * 512 * 1024 + 512, 3, 1 << 18)
    flows.back_up(FileRepository(tmp_path), data, 'one', geometry=engine.Geometry())
    assert read(tmp_path, 'one') == data


def test_it_runs_alone(tmp_path: Path) -> None:
    contents = write_chain(tmp_path / 'repository')
    (tmp_path / 'key').write_text((b'p' * 32).hex())
    arguments = [tmp_path / 'repository', flows.LINEAGE, 'b3', tmp_path / 'key', tmp_path / 'output']
    subprocess.run([sys.executable, reader.__file__, *arguments], check=True, cwd=tmp_path)
    assert (tmp_path / 'output').read_bytes() == contents['b3']


def test_it_opens_the_key_of_an_encrypted_volume(tmp_path: Path) -> None:
    repository, key = FileRepository(tmp_path), engine.VolumeKey('k', 'p', 'u', 'aes', 256, b'v' * 32)
    manifest = flows.back_up(repository, image(SIZE, 1), 'one')
    engine.store_volume_key(repository, manifest, key)
    assert reader.Reader(tmp_path, flows.LINEAGE, b'p' * 32).volume_key('one') == key.payload
    assert engine.load_volume_key(repository, manifest) == key


def test_it_notices_damage(tmp_path: Path) -> None:
    write_chain(tmp_path)
    pack = next((tmp_path / 'packs' / flows.LINEAGE / '00000' / 'b0').iterdir())
    pack.write_bytes(pack.read_bytes() + b'\0')
    with pytest.raises(reader.Damaged, match='another size'):
        read(tmp_path, 'b3')


def test_it_shares_no_code_with_the_engine() -> None:
    tree = ast.parse(Path(reader.__file__).read_text())
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    imported |= {node.module or '' for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not [name for name in imported if name.startswith(('chalicelib', 'tests'))]


def test_the_document_tells_what_the_engine_uses() -> None:
    """Numbers and names that a reader needs, as the code has them."""
    from chalicelib.backup import crypto, layout, listing, manifests, shards

    text = DOCUMENT.read_text()
    told = [layout.FORMAT, shards.MAGIC.decode(), *manifests.ALGORITHMS, *manifests.ALGORITHMS.values()]
    told += [f'{shards.HEADER_SIZE} bytes', f'{listing.ENTRY_SIZE} bytes', f'{crypto.SEAL_SIZE} bytes']
    purposes = ('identity', 'mac', 'blocks', 'tables', 'volume-keys', 'recovery')
    told += [f'"{layout.FORMAT} {purpose}"' for purpose in purposes]
    keys = [layout.backup_key, layout.running_key, layout.deleted_key, layout.volume_key_key]
    told += [key('<lineage>', '<backup>') for key in keys]
    assert [what for what in told if what not in text] == []
