"""Databases of every revision, as Cinder's own alembic builds them, and those that are refused."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from pathlib import Path

import pytest

from cinderless.errors import Failure
from cinderless.migration import hosts, schema
from cinderless.migration.source import PAGE, document, open_source, timestamp
from tests.migration import databases
from tests.system import environments

pytestmark = pytest.mark.xdist_group('cinder_run')


def upgrade(path: Path, revision: str) -> None:
    """Build an empty database of a revision with the alembic of Cinder 29."""
    code = (
        'import sys, eventlet; eventlet.monkey_patch(); from oslo_config import cfg; from cinder import objects; '
        'objects.register_all(); from cinder.common import config; from cinder.db import migration; '
        "cfg.CONF(['--config-file', '/dev/null'], project='cinder'); "
        "cfg.CONF.set_override('connection', sys.argv[1], group='database'); migration.db_sync(sys.argv[2])"
    )
    python = environments.ensure('cinder')
    subprocess.run([python, '-W', 'ignore', '-c', code, f'sqlite:///{path}', revision], check=True, capture_output=True)


@pytest.mark.parametrize('revision', schema.REVISIONS)
def test_every_known_revision_has_what_is_read(tmp_path: Path, revision: str) -> None:
    upgrade(tmp_path / 'db', revision)
    with open_source(f'sqlite:///{tmp_path}/db') as source:
        assert source.check() == revision
        assert [table for table in schema.TABLES if list(source.every(table)) is None] == []


def test_the_known_revisions_are_those_of_cinder() -> None:
    folder = environments.ensure('cinder').parent.parent.glob('lib/python*/site-packages/cinder/db/migrations/versions')
    found = {path.name.partition('_')[0] for each in folder for path in each.glob('*_*.py')} - {''}
    assert found == {*schema.REVISIONS, *schema.OLDER}


@pytest.mark.parametrize('revision', schema.OLDER)
def test_an_older_revision_is_refused_by_its_release(tmp_path: Path, revision: str) -> None:
    upgrade(tmp_path / 'db', revision)
    with open_source(f'sqlite:///{tmp_path}/db') as source, pytest.raises(Failure, match=schema.OLDER[revision]):
        source.check()


@pytest.mark.parametrize(
    ('statement', 'message'),
    [
        ("UPDATE alembic_version SET version_num = 'ffffffffffff'", 'the alembic revision ffffffffffff is unknown'),
        ('DELETE FROM alembic_version', 'alembic_version has 0 rows'),
        ('DROP TABLE alembic_version', 'is not a Cinder database'),
        ('DROP TABLE workers', 'lacks the tables workers: it is not whole'),
        ('ALTER TABLE volumes RENAME COLUMN size TO width', 'the table volumes lacks the columns size'),
    ],
)
def test_a_database_that_is_not_whole_is_refused(tmp_path: Path, statement: str, message: str) -> None:
    path, _ = databases.database(tmp_path)
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    with open_source(f'sqlite:///{path}') as source, pytest.raises(Failure, match=message):
        source.check()


@pytest.mark.parametrize(
    ('url', 'message'),
    [
        ('postgresql://db/cinder', 'postgresql'),
        ('cinder.sql', 'mysql'),
        ('sqlite:///missing.db', 'there is no database missing.db'),
        ('sqlite:////dev/null/x', 'there is no database'),
    ],
)
def test_other_urls_are_refused(url: str, message: str) -> None:
    with pytest.raises(Failure, match=message):
        open_source(url)


def test_a_file_that_is_not_a_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / 'db').write_text('CREATE TABLE volumes (id int);\n' * 100)
    with pytest.raises(Failure, match='cannot be read as a SQLite database'):
        open_source(f'sqlite:///{tmp_path}/db')


def test_the_database_is_not_written(tmp_path: Path) -> None:
    path, _ = databases.database(tmp_path)
    path.chmod(0o400)
    with open_source(f'sqlite:///{path}') as source, pytest.raises(sqlite3.OperationalError):
        source._query('DELETE FROM volumes', ())
    assert os.access(path, os.R_OK)


def test_pages_have_every_row_once(tmp_path: Path) -> None:
    path, _ = databases.database(tmp_path)
    count = 2 * PAGE + 1
    with sqlite3.connect(path) as connection:
        connection.executemany(
            'INSERT INTO volume_admin_metadata (id, key, value, volume_id, deleted) VALUES (?, ?, ?, ?, 0)',
            [(number, f'k{number}', 'v', 'x') for number in range(10, count + 10)],
        )
    with open_source(f'sqlite:///{path}') as source:
        pages = list(source.pages('volume_admin_metadata'))
        keys = [row['key'] for page in pages for row in page if row['volume_id'] == 'x']
        assert sorted(keys) == sorted({f'k{number}' for number in range(10, count + 10)})
        assert source.count('volume_admin_metadata') == sum(map(len, pages))
        wanted = [f'k{number}' for number in range(10, count + 10)]
        assert len(source.having('volume_admin_metadata', 'key', wanted)) == count


def test_times_and_documents_of_rows() -> None:
    assert timestamp('2026-11-30 12:00:00.000001') == '2026-11-30T12:00:00.000001'
    assert timestamp('2026-11-30 12:00:00') == '2026-11-30T12:00:00.000000'
    assert timestamp(None) is None
    assert document('') is None
    assert document('{"a": 1}') == {'a': 1}


def test_a_table_of_backends() -> None:
    table = hosts.parse('old@lvm -> new@a#p\nold@lvm#second -> new@b#q keep-exports\nold@ceph -> unmanaged\n# end')
    assert table.of('old@lvm#first') == hosts.Place('new@a#p')
    assert table.of('old@lvm#second') == hosts.Place('new@b#q', True)
    assert table.of('old@ceph#x') == table.of('unknown@y#z') == hosts.Place(None)
    assert (table.names('old@ceph#x'), table.names('unknown@y#z')) == (True, False)
    assert table.pools() == ['new@a#p', 'new@b#q']


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('old@lvm', 'line 1 .*is not "old'),
        ('\nold@lvm -> new', 'line 2 .*neither host@backend#pool nor unmanaged'),
        ('old@lvm -> new@a', 'neither'),
        ('old@lvm -> new@a#p\nold@lvm -> new@b#q', 'line 2 .*has a line already'),
        ('old@lvm -> new@a#p force', "'force' is not known"),
        ('old@lvm -> unmanaged keep-exports', 'not known here'),
    ],
)
def test_a_wrong_line_is_named(text: str, message: str) -> None:
    with pytest.raises(Failure, match=message):
        hosts.parse(text)
