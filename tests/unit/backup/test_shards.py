"""Shard manifests as bytes, and listings in memory."""

from __future__ import annotations

import random

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.backup import shards
from chalicelib.backup.crypto import DataKey, digest
from chalicelib.backup.listing import STORED, Counts, Entry, Listing, Pack, ShardRef, encode_entry
from chalicelib.errors import IntegrityError
from tests.unit.backup.fakes import MemoryRepository, Meter, Wrapped

KEY = DataKey(b'k' * 32, 'a')
NAME = 'shards/a/00000/one'


def entry(number: int, pack: int = 0) -> Entry:
    return Entry(digest(b'%d' % number), pack, number * 100, 100, STORED)


def listing(blocks: dict[int, Entry], packs: int = 1, size: int = 300) -> Listing:
    made = Listing.blank(size)
    made.packs = [Pack(f'packs/a/00000/one/{number:032x}-0000', 1000 + number) for number in range(packs)]
    for block, stored in blocks.items():
        made.set(block, encode_entry(stored))
    return made


def store(memory: MemoryRepository, data: bytes) -> MemoryRepository:
    memory.put(NAME, data)
    return memory


@given(blocks=st.dictionaries(st.integers(0, 299), st.integers(0, 1000)))
@settings(max_examples=50, deadline=None)
def test_a_listing_reads_as_it_was_written(blocks: dict[int, int]) -> None:
    written = listing({block: entry(number) for block, number in blocks.items()})
    counts = Counts(300, len(blocks), 3, 2, 1 << 40)
    header, read = shards.decode_listing(KEY, NAME, shards.encode_listing(KEY, NAME, written, counts))
    assert read == written
    assert header.counts == counts
    assert dict(read.stored(0, 300)) == {block: entry(number) for block, number in blocks.items()}


@given(start=st.integers(0, 300), stop=st.integers(0, 300), blocks=st.sets(st.integers(0, 299), max_size=9))
@settings(max_examples=50, deadline=None)
def test_any_stretch_of_a_listing(start: int, stop: int, blocks: set[int]) -> None:
    made = listing({block: entry(block) for block in blocks})
    assert [block for block, _ in made.stored(start, stop)] == sorted(b for b in blocks if start <= b < stop)


def test_packs_without_entries_are_dropped() -> None:
    made = listing({1: entry(1, pack=4), 7: entry(7, pack=2)}, packs=6)
    compacted = made.compact()
    assert compacted.packs == [made.packs[2], made.packs[4]]
    assert [stored.pack for _, stored in compacted.stored(0, 300)] == [1, 0]
    assert compacted.same_content(made)
    assert [stored.pack for _, stored in made.stored(0, 300)] == [4, 2]


def test_listings_of_other_content_or_size_differ() -> None:
    made = listing({1: entry(1)})
    assert not made.same_content(listing({1: entry(2)}))
    assert not made.same_content(listing({1: entry(1), 2: entry(2)}))
    assert not made.same_content(listing({1: entry(1)}, size=301))


def test_a_look_is_one_read_unless_there_are_very_many_packs(memory: MemoryRepository) -> None:
    draw = random.Random(1)
    for packs, reads in ((10, 1), (2000, 2)):
        made = listing({}, packs=packs)
        made.packs = [Pack(f'packs/a/00000/one/{draw.getrandbits(128):032x}-0000', 1000) for _ in range(packs)]
        meter = Meter()
        store(memory, shards.encode_listing(KEY, NAME, made, Counts(300)))
        _, named = shards.peek(Wrapped(memory, meter), NAME, KEY)
        assert named == made.packs
        assert meter.calls == {'get': reads}


def test_a_pointer_names_a_listing(memory: MemoryRepository) -> None:
    target = ShardRef('older', 'ab' * 32)
    data = shards.encode_pointer(KEY, NAME, target, Counts(300, 5))
    assert len(data) < 300
    header, named = shards.peek(store(memory, data), NAME, KEY)
    assert (named, header.kind, header.size) == (target, shards.POINTER, len(data))
    with pytest.raises(IntegrityError):
        shards.load(memory, KEY, NAME)


def test_a_manifest_passes_under_its_own_name_only() -> None:
    data = shards.encode_listing(KEY, NAME, listing({}), Counts(300))
    for key, name in ((KEY, 'shards/a/00000/two'), (DataKey(b'x' * 32, 'a'), NAME)):
        with pytest.raises(IntegrityError, match='authentication code'):
            shards.decode_header(name, data, key)


@pytest.mark.parametrize('references', [b'[]', b'{}', b'{"packs": 5}', b'{"packs": [[1]]}', b'\xff', b''])
def test_references_that_make_no_sense_are_damage(references: bytes) -> None:
    compressed = zstandard.compress(references)
    header = shards.Header(shards.LISTING, Counts(), len(compressed), 0, digest(compressed), b'', '')
    with pytest.raises(IntegrityError, match=NAME):
        shards.decode_references(NAME, header, bytes(shards.HEADER_SIZE) + compressed)


def test_references_that_claim_too_much_are_not_decompressed() -> None:
    compressed = zstandard.compress(bytes(1 << 28))
    header = shards.Header(shards.LISTING, Counts(), len(compressed), 0, digest(compressed), b'', '')
    with pytest.raises(IntegrityError, match='more than'):
        shards.decode_references(NAME, header, bytes(shards.HEADER_SIZE) + compressed)
