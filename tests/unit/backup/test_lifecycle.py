"""A backup begins with a parent that stays, and reads no other listing than the one that it names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from chalicelib import errors
from chalicelib.backup import engine, layout, shards
from chalicelib.backup.listing import Counts, Listing
from chalicelib.backup.manifests import load_shard
from tests.unit.backup import flows
from tests.unit.backup.fakes import MemoryRepository, Wrapped, image

SIZE = 128 * layout.KIB

#: How much of the removal of a parent is done, and may be all of it that a new backup finds.
REMOVALS: dict[str, Callable[[MemoryRepository], object]] = {
    'whole': lambda memory: engine.delete_backup(memory, flows.LINEAGE, 'one'),
    'only the tombstone': lambda memory: memory.put(layout.deleted_key(flows.LINEAGE, 'one'), b''),
    'only the manifest': lambda memory: memory.delete([layout.backup_key(flows.LINEAGE, 'one')]),
}


@pytest.fixture
def parent(memory: MemoryRepository) -> engine.Manifest:
    return flows.back_up(memory, image(SIZE, seed=1), 'one')


@pytest.mark.parametrize('removal', REMOVALS)
def test_a_parent_that_goes_while_the_intent_is_stored(
    memory: MemoryRepository, parent: engine.Manifest, removal: str
) -> None:
    def around(method: str, call: Callable[[], Any]) -> Any:
        if method == 'put':
            REMOVALS[removal](memory)
        return call()

    with pytest.raises(errors.InvalidBackup, match='the parent one no longer exists; create a full backup'):
        flows.begin(Wrapped(memory, around), SIZE, 'two', 'one')


@pytest.mark.parametrize('removal', REMOVALS)
def test_a_parent_that_went_before_the_call_is_repeated(
    memory: MemoryRepository, parent: engine.Manifest, removal: str
) -> None:
    flows.begin(memory, SIZE, 'two', 'one')
    REMOVALS[removal](memory)
    with pytest.raises(errors.InvalidBackup, match='the parent one no longer exists; create a full backup'):
        flows.begin(memory, SIZE, 'two', 'one')


def test_a_listing_under_the_right_key_with_another_code_is_refused(
    memory: MemoryRepository, parent: engine.Manifest
) -> None:
    """Whole and authentic, but of another attempt: what the backup names is the code."""
    key = layout.shard_key(flows.LINEAGE, 0, 'one')
    header, _ = shards.load(memory, parent.key, key)
    other = Listing.blank(header.counts.blocks)
    memory.put(key, shards.encode_listing(parent.key, key, other, Counts(blocks=header.counts.blocks)))
    assert shards.load(memory, parent.key, key)[1].entries == other.entries
    with pytest.raises(errors.IntegrityError, match='it is not the shard manifest that the backup names'):
        load_shard(memory, parent, 0, parent.shards[0])
