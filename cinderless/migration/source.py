"""A Cinder database, opened read only by its SQLAlchemy URL, and read in pages within one transaction.

``mysql+pymysql://user:password@host/cinder`` (also ``mysql://``; parameters ``unix_socket`` and ``charset``) or
``sqlite:////absolute/path``. A row is a dict; times are texts in the form of ``models.base.now``.
"""

from __future__ import annotations

import datetime
import itertools
import json
import sqlite3
import urllib.parse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from cinderless.errors import REFUSED, Failure
from cinderless.migration import schema

Row = dict[str, Any]

#: Rows of one page, and most values of one IN: SQLite's default limit of variables is 32,766, its former one 999.
PAGE = 500

#: Schemes of MySQL and MariaDB; any driver in the URL is replaced by PyMySQL.
_MYSQL = ('mysql', 'mariadb')


class Source:
    """An open database. ``mark``: the driver's placeholder of a parameter."""

    def __init__(self, connection: Any, mark: str, name: str) -> None:
        self._connection, self._mark, self._name = connection, mark, name

    @property
    def name(self) -> str:
        """The URL without its password."""
        return self._name

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def check(self) -> str:
        """Return the alembic revision. Raises Failure for another one, and for missing tables or columns."""
        revision = self._revision()
        if revision not in schema.REVISIONS:
            raise Failure(_unknown(revision), REFUSED)
        missing = [table for table in schema.TABLES if not self._columns(table)]
        if missing:
            raise Failure(
                f'the database lacks the tables {", ".join(missing)}: it is not whole (a dump that ended early?); '
                'load the whole dump into an empty database',
                REFUSED,
            )
        for table in schema.TABLES:
            absent = set(schema.columns_of(table)) - self._columns(table)
            if absent:
                raise Failure(f'the table {table} lacks the columns {", ".join(sorted(absent))}', REFUSED)
        return revision

    def _revision(self) -> str:
        if not self._columns('alembic_version'):
            raise Failure(
                'the database has no table alembic_version: it is not a Cinder database, or one of before Xena; '
                'upgrade that Cinder to 2023.1 or later first',
                REFUSED,
            )
        found = self._query('SELECT version_num FROM alembic_version', ())
        if len(found) != 1:
            raise Failure(f'the table alembic_version has {len(found)} rows instead of one', REFUSED)
        return str(found[0]['version_num'])

    def _columns(self, table: str) -> set[str]:
        """Return the names of a table's columns; none for a missing table."""
        if self._mark == '?':
            return {row['name'] for row in self._query(f'PRAGMA table_info({table})', ())}
        wanted = 'SELECT column_name AS name FROM information_schema.columns WHERE table_schema = DATABASE() '
        return {row['name'] for row in self._query(f'{wanted}AND table_name = %s', (table,))}

    def count(self, table: str) -> int:
        """Return the number of a table's rows that are not deleted."""
        return int(self._query(f'SELECT COUNT(*) AS n FROM `{table}` WHERE deleted = 0', ())[0]['n'])  # noqa: S608

    def pages(self, table: str) -> Iterator[list[Row]]:
        """Yield the rows that are not deleted, by their key, a page at a time."""
        key, last = schema.key_of(table), None
        while True:
            after = '' if last is None else f'AND `{key}` > {self._mark} '
            tail = f'{after}ORDER BY `{key}` LIMIT {PAGE}'
            found = self._select(table, tail, () if last is None else (last,))
            if found:
                yield found
            if len(found) < PAGE:
                return
            last = found[-1][key]

    def every(self, table: str) -> Iterator[Row]:
        """Yield all rows that are not deleted, by their key."""
        return itertools.chain.from_iterable(self.pages(table))

    def having(self, table: str, column: str, values: Iterable[Any]) -> list[Row]:
        """Return the rows that are not deleted whose column has one of the values, by their key."""
        wanted, found = sorted(set(values)), list[Row]()
        for start in range(0, len(wanted), PAGE):
            part = wanted[start : start + PAGE]
            marks = ', '.join([self._mark] * len(part))
            found += self._select(table, f'AND `{column}` IN ({marks}) ORDER BY `{schema.key_of(table)}`', part)
        return found

    def _select(self, table: str, tail: str, parameters: Sequence[Any]) -> list[Row]:
        columns = ', '.join(f'`{name}`' for name in schema.columns_of(table))
        # Names are those of schema.py; values are parameters.
        return self._query(f'SELECT {columns} FROM `{table}` WHERE deleted = 0 {tail}', parameters)  # noqa: S608

    def _query(self, statement: str, parameters: Sequence[Any]) -> list[Row]:
        cursor = self._connection.cursor()
        cursor.execute(statement, tuple(parameters))
        names = [facts[0] for facts in cursor.description or ()]
        return [{name: _plain(value) for name, value in zip(names, row, strict=True)} for row in cursor.fetchall()]


def _unknown(revision: str) -> str:
    known = ', '.join(f'{one} ({release})' for one, release in schema.REVISIONS.items())
    if revision in schema.OLDER:
        return (
            f'the database has the revision {revision} of {schema.OLDER[revision]}: upgrade that Cinder to 2023.1 first'
        )
    return f'the alembic revision {revision} is unknown; known are {known}'


def _plain(value: Any) -> Any:
    if isinstance(value, datetime.datetime):
        return value.strftime('%Y-%m-%dT%H:%M:%S.%f')
    return value.decode() if isinstance(value, bytes) else value


def open_source(url: str) -> Source:
    """Open the database of a SQLAlchemy URL. Raises Failure for another kind of URL, or without an answer."""
    parts = urllib.parse.urlsplit(url)
    kind = parts.scheme.partition('+')[0]
    if kind == 'sqlite':
        return _sqlite(urllib.parse.unquote(parts.path)[1:])
    if kind in _MYSQL:
        return _mysql(parts)
    raise Failure(
        f'the database URL begins with {parts.scheme or url!r}: give mysql+pymysql://... or sqlite:////path; '
        'load a dump into such a database first',
        REFUSED,
    )


def _sqlite(path: str) -> Source:
    if not Path(path).is_file():
        raise Failure(f'there is no database {path}: a SQLite URL has four slashes before an absolute path', REFUSED)
    try:
        connection = sqlite3.connect(f'file:{urllib.parse.quote(path)}?mode=ro', uri=True, isolation_level=None)
        connection.execute('BEGIN')
        connection.execute('SELECT COUNT(*) FROM sqlite_master')
    except sqlite3.DatabaseError as error:
        raise Failure(f'{path} cannot be read as a SQLite database: {error}', REFUSED) from None
    return Source(connection, '?', f'sqlite:///{path}')


def _mysql(parts: urllib.parse.SplitResult) -> Source:
    try:
        import pymysql
    except ModuleNotFoundError:
        raise Failure("MySQL and MariaDB need PyMySQL: pip install 'cinderless[migrate]'", REFUSED) from None
    given = dict(urllib.parse.parse_qsl(parts.query))
    shown = f'{parts.scheme}://{parts.username}@{parts.hostname}:{parts.port or 3306}{parts.path}'
    try:
        connection = pymysql.connect(
            host=parts.hostname or '127.0.0.1',
            port=parts.port or 3306,
            user=urllib.parse.unquote(parts.username or ''),
            password=urllib.parse.unquote(parts.password or ''),
            database=parts.path.strip('/'),
            charset=given.get('charset', 'utf8mb4'),
            unix_socket=given.get('unix_socket'),
        )
        # One consistent view of all tables, without a lock: InnoDB keeps the old rows for it.
        with connection.cursor() as cursor:
            cursor.execute('SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ')
            cursor.execute('START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY')
    except pymysql.MySQLError as error:
        raise Failure(f'the database {shown} does not answer: {error.args[-1]}') from None
    return Source(connection, '%s', shown)


def timestamp(value: Any) -> str | None:
    """Return a time of a row in the form of ``models.base.now``; SQLite stores a text with a blank."""
    if not value:
        return None
    text = str(value).replace(' ', 'T')
    return text if '.' in text else f'{text}.000000'


def document(text: Any) -> Any:
    """Return the JSON of a column; None for an empty one. Raises ValueError for a text that is not JSON."""
    return json.loads(text) if text else None
