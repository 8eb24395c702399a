"""Read a document key by key: every error names the key with its path, as ``users[2].password``.

An error never quotes a text of the document, which may be a password.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NoReturn, TypeVar

T = TypeVar('T')


class Section:
    """One mapping of the document. ``done`` reports keys that were not read: they are typing errors."""

    def __init__(self, value: object, path: str = '') -> None:
        self._path = path
        self._read: set[str] = set()
        if not isinstance(value, Mapping):
            self.complain(f'is {_kind(value)}, where a mapping of keys to values is needed')
        self._values: Mapping[str, object] = value

    def complain(self, problem: str, key: str | None = None) -> NoReturn:
        """Raise ValueError about ``key`` of this section, or about the section."""
        raise ValueError(f'identity document: {self.at(key)} {problem}')

    def at(self, key: str | None = None) -> str:
        """Return the place of ``key`` in the document."""
        return '.'.join(part for part in (self._path, key) if part) or 'the document'

    def names(self) -> list[str]:
        """Return the keys, for a mapping whose keys are names."""
        self._read.update(self._values)
        return [str(key) for key in self._values]

    def has(self, key: str) -> bool:
        """Return whether ``key`` is set and not null."""
        self._read.add(key)
        return self._values.get(key) is not None

    def text(self, key: str, default: str | None = None) -> str:
        """Return a string that is not empty, or ``default``; without a default the key is required."""
        value = self._typed(key, str, default, 'a string that is not empty')
        if not value and default is None:
            self.complain('is empty: set a string', key)
        return value

    def flag(self, key: str, default: bool) -> bool:
        return self._typed(key, bool, default, 'true or false')

    def number(self, key: str, default: int, lowest: int, highest: int) -> int:
        """Return a whole number within the bounds."""
        value = self._typed(key, int, default, 'a whole number')
        if not lowest <= value <= highest:
            self.complain(f'is {value}: set a whole number from {lowest} to {highest}', key)
        return value

    def choices(self, key: str, known: Iterable[str]) -> frozenset[str]:
        """Return a list of names, each one of ``known``; a missing list is empty."""
        known = frozenset(known)
        names = self._typed(key, list, [], 'a list of names')
        if not all(isinstance(name, str) and name in known for name in names):
            self.complain(f'has an unknown name: use {", ".join(sorted(known))}', key)
        return frozenset(names)

    def section(self, key: str) -> Section:
        """Return the mapping at ``key``; a missing one is empty."""
        return Section(self._values[key] if self.has(key) else {}, self.at(key))

    def sections(self, key: str) -> list[Section]:
        """Return the mappings of the list at ``key``; a missing one is empty."""
        values = self._typed(key, list, [], 'a list')
        return [Section(value, f'{self.at(key)}[{place}]') for place, value in enumerate(values)]

    def done(self) -> None:
        """Report a key that was not read."""
        unknown = sorted(str(key) for key in self._values if key not in self._read)
        if unknown:
            self.complain(f'is unknown: use {", ".join(sorted(self._read))}', unknown[0])

    def _typed(self, key: str, kind: type[T], default: T | None, wanted: str) -> T:
        if not self.has(key):
            return self._missing(key, wanted) if default is None else default
        value = self._values[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self.complain(f'is {_kind(value)}: set {wanted}', key)
        return value

    def _missing(self, key: str, wanted: str) -> NoReturn:
        self.complain(f'is missing: set {wanted}', key)


def _kind(value: object) -> str:
    return f'of type {type(value).__name__}'
