"""No output has a secret: the life of a volume, then a search through all output of the service."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

from tests.system.cloud import Cloud
from tests.system.test_aws_cli import Api, until

#: Shorter values may be common words.
SHORTEST = 12

#: Name endings of secret values in the documents in Secrets Manager.
SECRET = ('key', 'hash', 'secret', 'password')

HOST = {'host': 'compute-1', 'ip': '127.0.0.1', 'initiator': 'iqn.2004-10.com.example:nosecrets', 'multipath': False}


def test_no_secret_is_told_anywhere(cloud: Cloud) -> None:
    """Create, attach, back up, restore and delete a volume; search all output while it is attached, and at the end."""
    api = Api(cloud)
    id = api.call('POST', '/volumes', {'volume': {'size': 1, 'name': 'quiet'}})[0]['volume']['id']
    until(lambda: api.status(id) == 'available')
    wanted = {'volume_uuid': id, 'instance_uuid': str(uuid.uuid4()), 'connector': HOST, 'mode': 'rw'}
    attachment = api.call('POST', '/attachments', {'attachment': wanted}, at='3.54')[0]['attachment']
    api.call('POST', f'/attachments/{attachment["id"]}/action', {'os-complete': None}, at='3.54')
    backup = api.call('POST', '/backups', {'backup': {'volume_id': id, 'force': True}})[0]['backup']['id']
    until(lambda: api.call('GET', f'/backups/{backup}')[0]['backup']['status'] == 'available')
    attached = dict(told(cloud))
    api.call('DELETE', f'/attachments/{attachment["id"]}', at='3.54')
    api.call('POST', f'/backups/{backup}/restore', {'restore': {'volume_id': id}})
    until(lambda: api.call('GET', f'/backups/{backup}')[0]['backup']['status'] == 'available')
    api.call('DELETE', f'/backups/{backup}')
    api.call('DELETE', f'/volumes/{id}')
    until(lambda: id not in api.ids())
    secrets = {'token': api.token, 'CHAP': attachment['connection_info']['auth_password'], **dict(stored(cloud))}
    assert len(secrets) >= 4
    for places in attached, dict(told(cloud)):
        assert all(id in places[place] for place in ('logs of the functions', 'executions of create_volume'))
        for name, secret in secrets.items():
            assert [place for place, text in places.items() if secret in text] == [], name


def stored(cloud: Cloud) -> Iterator[tuple[str, str]]:
    """Yield the stored secrets: plain texts whole, of documents the values with secret names."""
    client, ssm = cloud.client('secretsmanager'), cloud.client('ssm')
    texts = {
        each['Name']: client.get_secret_value(SecretId=each['ARN'])['SecretString']
        for each in client.list_secrets()['SecretList']
    }
    texts['/cinderless/identity'] = ssm.get_parameter(Name='/cinderless/identity', WithDecryption=True)['Parameter'][
        'Value'
    ]
    for place, text in texts.items():
        found = _leaves(json.loads(text)) if text.startswith('{') else [('itself', text)]
        for name, value in found:
            if name == 'itself' or (name.endswith(SECRET) and len(value) >= SHORTEST):
                yield f'{place}: {name} {value[:4]}...', value


def _leaves(node: Any, name: str = '') -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _leaves(value, key)
    elif isinstance(node, list):
        for value in node:
            yield from _leaves(value, name)
    elif isinstance(node, str):
        yield name, node


def told(cloud: Cloud) -> Iterator[tuple[str, str]]:
    """Yield (place, its whole text)."""
    yield 'logs of the functions', (cloud.state_dir / 'logs' / 'functions.jsonl').read_text()
    yield 'output of the server', cloud.log.read_text()
    machines = cloud.client('stepfunctions')
    for name, arn in cloud.ready['machines'].items():
        texts = []
        for execution in machines.list_executions(stateMachineArn=arn)['executions']:
            history = machines.get_execution_history(executionArn=execution['executionArn'])
            texts.append(str(history['events']))
        yield f'executions of {name}', ' '.join(texts)
    tables = cloud.client('dynamodb')
    for name, table in cloud.ready['tables'].items():
        yield f'table {name}', str(tables.scan(TableName=table)['Items'])
