"""The name of a pool and its parts."""

from __future__ import annotations

import pytest

from chalicelib import errors
from chalicelib.scheduler import hosts
from tests.vectors import cinder


@pytest.mark.parametrize(
    ('name', 'host', 'backend', 'pool'),
    [
        ('node', 'node', 'node', None),
        ('node@lvm', 'node', 'node@lvm', None),
        ('node@lvm#fast', 'node', 'node@lvm', 'fast'),
        ('node#fast', 'node', 'node', 'fast'),
        ('node@lvm#', 'node', 'node@lvm', ''),
        ('node@lvm@x#fast', 'node', 'node@lvm@x', 'fast'),
        ('node@lvm#a#b', 'node', 'node@lvm', None),
        ('', '', '', None),
    ],
)
def test_parts(name: str, host: str, backend: str, pool: str | None) -> None:
    assert hosts.extract_host(name, 'host') == host
    assert hosts.extract_host(name) == backend
    assert hosts.extract_host(name, 'pool') == pool


def test_a_volume_without_a_host_is_invalid() -> None:
    with pytest.raises(errors.InvalidVolume, match='not assigned to a host'):
        hosts.extract_host(None)


@pytest.mark.parametrize(('name', 'pool'), [('node@lvm', '_pool0'), ('node@lvm#fast', 'fast'), ('node@lvm#', '')])
def test_pool_or_default(name: str, pool: str) -> None:
    assert hosts.pool_or_default(name) == pool


@pytest.mark.parametrize(
    ('host', 'pool', 'name'),
    [('node@lvm', 'fast', 'node@lvm#fast'), ('node@lvm', None, 'node@lvm'), ('', 'fast', ''), (None, 'fast', None)],
)
def test_append_host(host: str | None, pool: str | None, name: str | None) -> None:
    assert cinder.append_host(host, pool) == name


@pytest.mark.parametrize(
    ('one', 'other', 'equivalent'),
    [
        ('a@x#p', 'a@x#q', True),
        ('a@x', 'a@x#q', True),
        ('a@x', 'b@x', False),
        (None, None, True),
        ('a@x', None, False),
    ],
)
def test_hosts_are_equivalent(one: str | None, other: str | None, equivalent: bool) -> None:
    assert cinder.hosts_are_equivalent(one, other) is equivalent


@pytest.mark.parametrize(
    ('name', 'backend', 'meant'),
    [('a@x#p', 'a@x#p', True), ('a@x#q', 'a@x#p', False), ('a@x#q', 'a@x', True), ('b@x#q', 'a@x', False)],
)
def test_a_backend_without_a_pool_means_all_its_pools(name: str, backend: str, meant: bool) -> None:
    assert hosts.in_backend(name, backend) is meant
