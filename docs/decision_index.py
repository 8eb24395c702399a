"""docs/decisions/index.md: every decision by its number and title."""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).with_name('decisions')

PAGE = """# Decisions

Each page records one choice: the context, the choice, its cost and the alternatives. A number that was reserved and not
used is listed as such. Generated from the pages: `make docs`.

| number | decision |
|---|---|
{rows}
"""


def titles() -> dict[int, tuple[str, str]]:
    """Return {number: (file name, title without the number)}."""
    found = {}
    for path in sorted(FOLDER.glob('[0-9]*.md')):
        heading = path.read_text(encoding='utf-8').splitlines()[0]
        found[int(path.name[:4])] = (path.name, re.sub(r'^# (?:\d+[.:] *)?', '', heading))
    return found


def page() -> str:
    """docs/decisions/index.md."""
    known = titles()
    rows = [_row(number, known.get(number)) for number in range(1, max(known) + 1)]
    return PAGE.format(rows='\n'.join(rows))


def _row(number: int, known: tuple[str, str] | None) -> str:
    return f'| {number} | [{known[1]}]({known[0]}) |' if known else f'| {number} | not used |'
