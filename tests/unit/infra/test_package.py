"""The artefact."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pytest

from infra import package
from infra.render import ROOT


def files(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def test_two_archives_of_the_same_code_are_the_same_bytes(tmp_path: Path) -> None:
    first = files(tmp_path / 'first', 'b/c.py', 'a.py')
    second = files(tmp_path / 'second', 'a.py', 'b/c.py')
    (first / 'a.py').chmod(0o600)
    package.write_zip(first, tmp_path / 'first.zip')
    package.write_zip(second, tmp_path / 'second.zip')
    assert (tmp_path / 'first.zip').read_bytes() == (tmp_path / 'second.zip').read_bytes()
    with zipfile.ZipFile(tmp_path / 'first.zip') as archive:
        assert archive.namelist() == ['a.py', 'b/c.py']
        assert archive.read('b/c.py') == b'b/c.py'


def test_botocore_keeps_what_is_called(tmp_path: Path) -> None:
    data = files(tmp_path, 'dynamodb/x.json', 'polly/x.json', 'partitions.json')
    package.trim_botocore(data)
    assert sorted(path.name for path in data.iterdir()) == ['dynamodb', 'partitions.json']


def test_every_client_that_the_source_makes_is_kept() -> None:
    made = set()
    for path in (ROOT / 'chalicelib').rglob('*.py'):
        made.update(re.findall(r"client\('([a-z0-9]+)'", path.read_text()))
    assert made
    assert made <= set(package.SERVICES)


def test_too_large_an_artefact_is_refused(tmp_path: Path) -> None:
    with (tmp_path / 'large').open('wb') as file:
        file.truncate(package.MAX_UNZIPPED + 1)
    with pytest.raises(ValueError, match=str(package.MAX_UNZIPPED)):
        package.check_size(tmp_path)


def test_source_is_taken_with_the_runtime_part_of_chalice(tmp_path: Path) -> None:
    package.copy_source(tmp_path)
    assert {path.name for path in (tmp_path / 'chalice').iterdir()} == {'__init__.py', 'app.py'}
    assert (tmp_path / 'app.py').read_bytes() == (ROOT / 'app.py').read_bytes()
    assert (tmp_path / 'chalicelib' / 'errors.py').exists()
    assert not list(tmp_path.rglob('__pycache__'))
