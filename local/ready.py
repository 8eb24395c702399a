"""The output of the local cloud for its users: ready.json, clouds.yaml, and the first commands."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

from local import certificates
from local.functions import Function
from local.settings import ACCESS_KEY, REGION, SECRET_KEY, Settings, join
from local.stack import Stack

#: The function that Chalice names APIHandler is called by its role.
API = 'APIHandler'


def document(settings: Settings, stack: Stack, functions: Mapping[str, Function]) -> dict[str, Any]:
    """The content of ready.json."""
    return {
        'volume': f'{settings.url}/v3',
        'identity': settings.identity_url,
        'aws': settings.aws_url,
        'iscsi': join(settings.host, settings.iscsi_port),
        'appliance': settings.appliance_url,
        **_authority(settings),
        'pid': os.getpid(),
        'region': REGION,
        'access_key': ACCESS_KEY,
        'secret_key': SECRET_KEY,
        'functions': {role(name): function.name for name, function in functions.items()},
        'queues': {_last(url): url for url in _physical(stack, 'AWS::SQS::Queue')},
        'machines': machines(stack),
        'tables': {_short(name): name for name in _physical(stack, 'AWS::DynamoDB::Table')},
        'bucket': next(iter(_physical(stack, 'AWS::S3::Bucket'))),
    }


def _authority(settings: Settings) -> dict[str, str]:
    """What clients verify a generated certificate with."""
    path = certificates.authority(settings)
    return {'cacert': str(path)} if path else {}


def role(logical_id: str) -> str:
    """VolumeWorker -> volume_worker; Chalice's APIHandler -> api."""
    if logical_id == API:
        return 'api'
    return ''.join(f'_{letter.lower()}' if letter.isupper() else letter for letter in logical_id).lstrip('_')


def machines(stack: Stack) -> dict[str, str]:
    """{name without the stack's: ARN}."""
    prefix = f'arn:aws:states:{REGION}:{stack.scope.refs["AWS::AccountId"]}:stateMachine:'
    names = [properties['StateMachineName'] for _, properties in stack.of_type('AWS::StepFunctions::StateMachine')]
    return {_short(name): prefix + name for name in names}


def _physical(stack: Stack, kind: str) -> list[str]:
    return [stack.physical(name) for name, _ in stack.of_type(kind)]


def _last(url: str) -> str:
    return url.rpartition('/')[2]


def _short(name: str) -> str:
    return name.partition('-')[2]


def write(path: Path, text: str) -> None:
    """Put a file in place at once."""
    unfinished = path.with_name(path.name + '.new')
    unfinished.write_text(text, encoding='utf-8')
    unfinished.replace(path)


def write_ready(settings: Settings, facts: Mapping[str, Any]) -> None:
    write(settings.state_dir / 'ready.json', json.dumps(facts, indent=1) + '\n')


def write_clouds(settings: Settings, users: Collection[str]) -> None:
    """clouds.yaml for the openstack CLI, with those of its users that are in ``users``.

    With an external Keystone there is none: its users are the reader's own.
    """
    if settings.keystone_url:
        return
    from chalicelib.identity.local import local_clouds
    from chalicelib.rules import microversions

    clouds = local_clouds(settings.identity_url, REGION, microversions.text(microversions.MAXIMUM), users)
    for cloud in clouds['clouds'].values():
        cloud.update(_authority(settings))
    write(settings.state_dir / 'clouds.yaml', yaml.safe_dump(clouds))


def advice(settings: Settings) -> str:
    """Return the text that the server prints when it is ready."""
    keys = f'AWS_ACCESS_KEY_ID={ACCESS_KEY} AWS_SECRET_ACCESS_KEY={SECRET_KEY} AWS_DEFAULT_REGION={REGION}'
    return f"""ready
  block storage  {settings.url}/v3
  console        {settings.url}/console
  identity       {settings.identity_url}
  AWS            {settings.aws_url}
  iSCSI          {join(settings.host, settings.iscsi_port)}
Try, in another shell:
  export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH
  export OS_CLIENT_CONFIG_FILE={shlex.quote(str(settings.state_dir / 'clouds.yaml'))} OS_CLOUD=demo
  openstack volume create --size 1 first
  openstack volume list
  export {keys}
  aws --endpoint-url {settings.aws_url} stepfunctions list-state-machines
  cinderless status --state-dir {shlex.quote(str(settings.state_dir))}
What is stored is in {settings.state_dir}; logs are in {settings.state_dir / 'logs'}.
Ctrl-C stops everything."""
