"""The backends document that a process remembers may be old: a host that it lacks is looked up in the current one."""

from __future__ import annotations

import json
from collections.abc import Callable

import boto3
import pytest

from chalicelib import aws, errors
from chalicelib.config import settings
from chalicelib.tasks import backends


@pytest.fixture
def write(tables: None, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Writes a document with backends of these names, as another process's administrator does."""
    monkeypatch.setenv('BACKENDS_PARAMETER', '/cinderless/backends')
    settings.cache_clear()
    aws.forget_documents()

    def written(*names: str) -> None:
        known = [{'name': name, 'driver': 'ebs', 'options': {}} for name in names]
        boto3.client('ssm', region_name=settings().region).put_parameter(
            Name='/cinderless/backends', Type='String', Overwrite=True,
            Value=json.dumps({'host': 'cinderless', 'backends': known}),
        )  # fmt: skip

    return written


def test_a_backend_that_was_added_meanwhile_is_found(write: Callable[..., None]) -> None:
    write('old')
    assert backends.having('cinderless@old#pool').names() == ['cinderless@old']
    write('old', 'new')
    assert backends.having('cinderless@old').names() == ['cinderless@old']
    assert backends.having('cinderless@new#pool').backend('cinderless@new').name == 'new'


def test_one_that_there_is_not_is_an_error(write: Callable[..., None]) -> None:
    write('old')
    with pytest.raises(errors.HostNotFound):
        backends.having('cinderless@gone#pool').backend('cinderless@gone#pool')


def test_what_is_known_serves_on_while_the_document_cannot_be_read(
    write: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    write('old')
    backends.configured()

    def unreachable(*_: object) -> None:
        raise errors.ServiceUnavailable(reason='SSM')

    monkeypatch.setattr(aws, 'client', unreachable)
    assert backends.having('cinderless@new').names() == ['cinderless@old']
