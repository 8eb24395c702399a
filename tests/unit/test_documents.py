"""Settings that are documents: in the environment, or in the SSM parameter that it names."""

from __future__ import annotations

from collections.abc import Iterator

import boto3
import pytest
from moto import mock_aws

from chalicelib import aws
from chalicelib.operations import backup_copies, pools


@pytest.fixture(autouse=True)
def stored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two parameters as the template makes them, and nothing remembered of others."""
    texts = {
        '/mine/scheduler-options': '{"scheduler_max_attempts": 7}',
        '/mine/backup-targets': '{"dr": {"bucket": "elsewhere", "region": "eu-west-1", "kms_key": "k"}}',
    }
    with mock_aws():
        aws.client.cache_clear()
        for name, text in texts.items():
            boto3.client('ssm', 'us-east-1').put_parameter(Name=name, Value=text, Type='String')
        aws.forget_documents()
        pools.config.cache_clear()
        yield
    pools.config.cache_clear()
    aws.forget_documents()
    aws.client.cache_clear()


def configured(module: object, monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    known = module.settings()._replace(**values)  # type: ignore[attr-defined]
    monkeypatch.setattr(module, 'settings', lambda: known)


@pytest.mark.parametrize('text', ['/mine/scheduler-options', '{"scheduler_max_attempts": 7}'])
def test_the_schedulers_options_are_read_from_either(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    configured(pools, monkeypatch, scheduler_options=text)
    assert pools.config().scheduler_max_attempts == 7


def test_targets_of_copies_are_read_from_the_parameter(monkeypatch: pytest.MonkeyPatch) -> None:
    configured(backup_copies, monkeypatch, backup_targets='/mine/backup-targets')
    assert backup_copies.targets()['dr'].bucket == 'elsewhere'


def test_no_document_is_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws, 'parameter', lambda name: pytest.fail(name))
    assert aws.document('') == ''
    assert backup_copies.targets() == {}
