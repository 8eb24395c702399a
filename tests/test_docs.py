"""The documents tell the truth: generated pages are up to date, links lead somewhere, named commands exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.generate import FOLDER, PAGES

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([ROOT / 'README.md', ROOT / 'appliance' / 'README.md', *(ROOT / 'docs').rglob('*.md')])
LINK = re.compile(r'\[[^\]]*\]\(([^)#\s]+)(#[^)]*)?\)')
MAKE = re.compile(r'`?\bmake ([a-z]+)')
TARGET = re.compile(r'^([a-z]+):', re.MULTILINE)


@pytest.mark.parametrize('name', PAGES)
def test_a_generated_page_is_what_would_be_generated(name: str) -> None:
    assert (FOLDER / name).read_text() == PAGES[name](), f'docs/{name} is old: run make docs'


@pytest.mark.parametrize('document', DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_within_the_project_lead_somewhere(document: Path) -> None:
    links = [link for link, _ in LINK.findall(document.read_text()) if '://' not in link]
    broken = [link for link in links if not (document.parent / link).exists()]
    assert broken == []


@pytest.mark.parametrize('document', DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_make_targets_that_are_named_exist(document: Path) -> None:
    code = ' '.join(re.findall(r'`[^`]+`|```.*?```', document.read_text(), re.DOTALL))
    targets = set(TARGET.findall((ROOT / 'Makefile').read_text()))
    assert set(MAKE.findall(code)) <= targets
