"""The status that a volume has by its attachments. Source: Cinder's finish_detach."""

from __future__ import annotations

import pytest

from chalicelib.rules import states


@pytest.mark.parametrize(
    ('left', 'status'),
    [
        ([], 'available'),
        (['attached'], 'in-use'),
        (['reserved', 'attached'], 'in-use'),
        (['reserved', 'attaching'], 'attaching'),
        (['reserved', 'detaching'], 'detaching'),
        (['reserved'], 'reserved'),
        (['error_attaching'], 'available'),
        (['error_attaching', 'reserved'], 'reserved'),
    ],
)
def test_the_first_attachment_without_an_error_decides(left: list[str], status: str) -> None:
    assert states.status_after_detach(left) == status


@pytest.mark.parametrize(('status', 'expected'), [('error', True), ('error_deleting', True), ('available', False)])
def test_errors(status: str, expected: bool) -> None:
    assert states.is_error(status) is expected
