"""Words and forms that the project avoids, counted for each room: none in the documents, fewer and fewer in the code.

Counted are documents, and of Python files the comments and string literals (docstrings, messages), not identifiers. A
document's code blocks, inline code and quotations are not counted: they show what programs print.

``python -m tests.test_vocabulary`` prints each room's count, ``python -m tests.test_vocabulary ROOM`` every place.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent

#: What to write instead -> the words and forms that it replaces.
BANNED = {
    'return, report, log, show, configure': r'told|tells?|telling',
    'request, call, read, query': r'asks?|asked|asking',
    'report, show, the reason is': r'says?|said|saying',
    'receive': r'hears?|heard|hearing',
    'read, receive, find out': r'learns?|learned|learnt',
    'fix, repair': r'mends?|mended|mending',
    'delete, release, unmanage': r'lets? go|letting go|gives? back|given back',
    'continue, start': r'brings? on|brought on|goes on',
    'is in, is at': r'stands?|stood|lies',
    'is paused': r'rests',
    'depend on': r'hangs? on',
    'name the component': r'nobody|somebody|everybody|whoever|no one|someone',
    'again, new': r'anew',
    'is deleted, is sent, continues': r'goes',
    'its own, the project, this service': r'of ours|ours',
    'automatically, alone': r'by itself|by themselves',
    'is not a': r'(?<!there )(?:is|are|was|were) no(?! longer)',
    'point-in-time consistent': r'of one moment',
    'every n-th': r'manieth',
    'timestamp, time': r'moments?',
    'respect, obey': r'heeds?|heeded|heeding',
    'permanently': r'for good|for ever',
    'without': r'for (?:the )?want of',
    'otherwise': r'or else',
    'capacity, space': r'room',
    'a plain heading': r'honestly',
    'work, succeed': r'will do',
    'existing, stored': r'what (?:is|was) there|that is there|that are there',
}

#: Blanks of a form match line ends, too; those of a lookbehind, which has a fixed width, do not.
FORMS = [re.sub(r'(?<!there) ', r'\\s+', form) for form in BANNED.values()]

WORDS = re.compile('|'.join(rf'(?P<w{number}>\b(?:{form})\b)' for number, form in enumerate(FORMS)), re.IGNORECASE)

#: Room -> the most places that it may have. A count may only fall: lower it with the change that lowers the count.
MOST = {
    'documents': 0,
    'appliance': 0,
    'bench': 0,
    'chalicelib': 3,
    'cinderless': 0,
    'deploy': 0,
    'docs': 0,
    'infra': 0,
    'root': 0,
    'local': 1,
    'stepfunctions': 0,
    'tests': 0,
}

#: Generated from the comments of ``stepfunctions``.
WORKFLOWS = ROOT / 'docs' / 'reference' / 'workflows.md'

#: Files of the room ``root``.
ROOT_FILES = ('Makefile', 'app.py', 'pyproject.toml', '.ci/run', '.github/workflows/deploy.yaml')

#: Suffixes of text files whose whole text counts.
TEXTS = ('.yaml', '.sh', '.service')


class Place(NamedTuple):
    """A word or form at a line of a file."""

    path: Path
    line: int
    word: str
    instead: str

    def __str__(self) -> str:
        return f'{self.path.relative_to(ROOT)}:{self.line}: "{self.word}" (instead: {self.instead})'


def in_text(path: Path, text: str, first: int = 1) -> Iterator[Place]:
    """Yield the places in a text whose first line has the number ``first``."""
    for found in WORDS.finditer(text):
        line = first + text.count('\n', 0, found.start())
        number = int(str(found.lastgroup).removeprefix('w'))
        yield Place(path, line, ' '.join(found[0].split()), list(BANNED)[number])


def in_plain_text(path: Path) -> Iterator[Place]:
    """Yield the places in a file whose whole text counts."""
    return in_text(path, path.read_text(encoding='utf-8'))


def in_document(path: Path) -> Iterator[Place]:
    """Yield the places in a Markdown file, code and quotations apart."""

    def blank(found: re.Match[str]) -> str:
        return re.sub(r'[^\n]', ' ', found[0])

    text = path.read_text(encoding='utf-8')
    for form in (r'^ *```.*?^ *```', r'`[^`]*`', r'^>.*?$', r'\]\([^)]*\)'):
        text = re.sub(form, blank, text, flags=re.MULTILINE | re.DOTALL)
    return in_text(path, text)


def in_code(path: Path) -> Iterator[Place]:
    """Yield the places in a Python file's comments and string literals."""
    text = path.read_text(encoding='utf-8')
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield from in_text(path, token.string, token.start[0])
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from in_text(path, node.value, node.lineno)


def documents() -> list[Path]:
    """Return the documents: README, CHANGELOG, those of .github, docs/ and the appliance.

    The page of workflows is not among them: its text is the comments of ``stepfunctions``, and counts there.
    """
    folders = [path for folder in ('.github', 'docs', 'appliance') for path in (ROOT / folder).rglob('*.md')]
    return sorted({ROOT / 'README.md', ROOT / 'CHANGELOG.md', *folders} - {WORKFLOWS})


def files(room: str) -> list[Path]:
    """Return the files of a room: documents, Python files and other texts."""
    if room == 'documents':
        return documents()
    if room == 'root':
        return [ROOT / name for name in ROOT_FILES]
    kinds = ('.py', *TEXTS)
    return sorted(
        path for path in (ROOT / room).rglob('*') if path.suffix in kinds and path != Path(__file__).resolve()
    )


def places(room: str) -> list[Place]:
    """Return all places of a room."""
    readers = {'.md': in_document, '.py': in_code}
    found = (readers.get(path.suffix, in_plain_text)(path) for path in files(room))
    return [place for each in found for place in each]


@pytest.mark.parametrize('room', MOST)
def test_a_room_has_no_more_words_to_avoid_than_before(room: str) -> None:
    found = places(room)
    assert len(found) <= MOST[room], '\n'.join(map(str, found[-20:]))


def test_the_rooms_are_all_folders_with_code() -> None:
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith('.')}
    assert folders == MOST.keys() - {'documents', 'root'}


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('The worker tells the pool; nobody asks.', ['tells', 'nobody', 'asks']),
        ('This is no JSON object; there is no pool; it is no longer used.', ['is no']),
        ('A snapshot of\none moment', ['of one moment']),
        ('Storytelling, standalone, untold, a taskset', []),
    ],
)
def test_words_are_found_as_whole_words(text: str, words: list[str]) -> None:
    assert [place.word for place in in_text(ROOT / 'x', text)] == words


def test_code_is_not_counted_in_documents_nor_names_in_code(tmp_path: Path) -> None:
    page, module = tmp_path / 'page.md', tmp_path / 'module.py'
    page.write_text('It `tells`\n\n```sh\ntells\n```\n\n> tells\n\n[x](tells.md) and tells\n')
    module.write_text('"""It tells."""\n\ntold = tells(f"said {told}")  # nobody\n')
    assert [(place.line, place.word) for place in in_document(page)] == [(9, 'tells')]
    assert sorted(place.word for place in in_code(module)) == ['nobody', 'said', 'tells']


if __name__ == '__main__':
    for name in sys.argv[1:] or MOST:
        found = places(name)
        print(*(found if sys.argv[1:] else ()), f'{name}: {len(found)}', sep='\n')
