"""The parts of ``make mutants`` name code and tests that exist, and the list of equivalent changes is not stale."""

from __future__ import annotations

import pytest

from tests.mutants.parts import PARTS, ROOT, Equivalent, Part, equivalents


@pytest.mark.parametrize('part', PARTS.values(), ids=PARTS)
def test_parts_name_what_exists(part: Part) -> None:
    assert [pattern for pattern in part.paths if not list(ROOT.glob(pattern))] == []
    assert [name for name in part.tests if not (ROOT / name).exists()] == []


@pytest.mark.parametrize('one', equivalents(), ids=lambda one: f'{one.file}: {one.was}')
def test_each_equivalent_change_is_one_of_a_line_that_exists(one: Equivalent) -> None:
    lines = {line.strip() for line in (ROOT / one.file).read_text().splitlines()}
    assert one.was in lines or any(line.startswith(one.was) for line in lines)
    assert one.was != one.becomes
    assert len(one.reason.split()) > 3


def test_every_equivalent_change_is_in_a_room() -> None:
    files = {path for part in PARTS.values() for path in part.files()}
    assert {one.file for one in equivalents()} <= files
