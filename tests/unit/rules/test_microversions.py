"""How a version is written and read."""

from __future__ import annotations

import pytest

from chalicelib import errors
from chalicelib.rules import microversions


@pytest.mark.parametrize(
    ('text', 'version'), [('3.0', (3, 0)), ('3.71', (3, 71)), ('1.10', (1, 10)), ('9999.9', (9999, 9))]
)
def test_versions_are_read_and_written(text: str, version: tuple[int, int]) -> None:
    assert (microversions.parse(text), microversions.text(version)) == (version, text)


@pytest.mark.parametrize(
    'text', ['', '3', '3.', '.1', '03.1', '3.01', '3.1.1', ' 3.1', '3.1 ', '3.x', '٣.1', '0.1', '10000.1']
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(errors.InvalidAPIVersionString) as refused:
        microversions.parse(text)
    assert f'{text} is of invalid format' in refused.value.message


def test_the_newest_version() -> None:
    assert list(microversions.FACTS) == [f'3.{minor}' for minor in range(microversions.MAXIMUM[1] + 1)]
    assert (microversions.MINIMUM, microversions.MAXIMUM) == ((3, 0), (3, 71))
