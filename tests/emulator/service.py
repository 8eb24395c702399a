"""The service deployed to the emulator: by the commands ``deploy`` and ``remove``, and used through API Gateway."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from chalicelib.identity.local import local_clouds, local_document
from chalicelib.rules import microversions
from infra.render import ROOT
from tests.contract.agent import Agent
from tests.emulator.aws import DOMAIN, REGION, Emulator
from tests.system.clients import User

#: The storage host's pools -> the zone of each, as in the local cloud; and the zone of volumes on EBS.
POOLS, EBS = {'fast': 'nova', 'slow': 'nova', 'remote': 'az2'}, 'ebs'

#: Names of the stack's resources begin with it, as in the local cloud, and the stage's files with the other.
STACK, STAGE = 'cinderless', 'emulator'

#: Seconds for one command.
PATIENCE = 600


def storage_host(folder: Path) -> Agent:
    """The storage host, not started: the agent with a tgtd of its own, on this machine."""
    folder.mkdir()
    return Agent(folder, f'xfs-image:{folder}/store.img:310G', ','.join(f'{pool}:100' for pool in POOLS))


@dataclasses.dataclass(eq=False)
class Service:
    """One stack. ``root`` is the source that ``deploy`` deploys; ``agent`` is the storage host of its iSCSI backends.

    It has what tests/system needs of a cloud, so that those tests run here, too.
    """

    aws: Emulator
    agent: Agent
    folder: Path
    root: Path = ROOT
    parameters: dict[str, str] = dataclasses.field(default_factory=dict)
    stack: str = STACK
    #: Standard error of the last command: its progress.
    shown: str = ''

    @property
    def stage(self) -> str:
        return STAGE

    @property
    def clouds_yaml(self) -> Path:
        return self.folder / 'clouds.yaml'

    @property
    def client(self) -> Any:
        """A function that gives a boto3 client for a service of AWS."""
        return self.aws.client

    @property
    def ready(self) -> dict[str, Any]:
        """What the local cloud has in ready.json."""
        resources = self.resources()
        return {
            'volume': f'{self.url}/v3',
            'identity': f'{self.url}/identity/v3',
            'aws': self.aws.url,
            'region': REGION,
            'access_key': self.aws.credentials['AWS_ACCESS_KEY_ID'],
            'secret_key': self.aws.credentials['AWS_SECRET_ACCESS_KEY'],
            'iscsi': self.agent.portal,
            'bucket': resources['AWS::S3::Bucket'][0],
            'functions': {name.removeprefix(f'{self.stack}-'): name for name in resources['AWS::Lambda::Function']},
            'queues': {url.rpartition('/')[2]: url for url in resources['AWS::SQS::Queue']},
            'machines': {
                name.rpartition(f':{self.stack}-')[2]: name for name in resources['AWS::StepFunctions::StateMachine']
            },
            'tables': {name.removeprefix(f'{self.stack}-'): name for name in resources['AWS::DynamoDB::Table']},
        }

    def openstack_environment(self, cloud: str = 'demo') -> dict[str, str]:
        """An environment in which the openstack CLI talks to this service."""
        return {**os.environ, 'OS_CLIENT_CONFIG_FILE': str(self.clouds_yaml), 'OS_CLOUD': cloud}

    def resources(self) -> dict[str, list[str]]:
        """Type -> the names of the stack's resources."""
        found: dict[str, list[str]] = {}
        pages = self.aws.client('cloudformation').get_paginator('list_stack_resources').paginate(StackName=self.stack)
        for each in (each for page in pages for each in page['StackResourceSummaries']):
            found.setdefault(each['ResourceType'], []).append(each['PhysicalResourceId'])
        return found

    def deploy(self) -> str:
        """Run ``deploy``; return its output."""
        self._write_stage()
        output = self._command('deploy', self.stage)
        self._put_gateway_responses()
        self._write_clouds()
        return output

    def refused_deploy(self) -> str:
        """Run a ``deploy`` that fails; return its output and message."""
        self._write_stage()
        done = self._run('deploy', self.stage)
        assert done.returncode == 1, done.stdout
        return done.stdout + done.stderr

    def remove(self) -> str:
        """Run ``remove`` for the stack and its data; return its output."""
        return self._command('remove', self.stage, '--data', self.stack)

    def user(self, name: str = 'demo') -> User:
        """An unmodified client (python-cinderclient, openstacksdk) as one of the identity document's users."""
        return User(self, name)  # type: ignore[arg-type]

    def put_secret(self) -> None:
        """Store what the storage host and the workers share, as an operator does before the first deploy."""
        self.aws.client('secretsmanager').create_secret(Name=f'{self.stack}/appliance', SecretString=self.agent.secret)

    def output(self, name: str) -> str:
        [stack] = self.aws.client('cloudformation').describe_stacks(StackName=self.stack)['Stacks']
        return {each['OutputKey']: each['OutputValue'] for each in stack['Outputs']}[name]

    @property
    def status(self) -> str:
        """CloudFormation's status of the stack."""
        [stack] = self.aws.client('cloudformation').describe_stacks(StackName=self.stack)['Stacks']
        return str(stack['StackStatus'])

    @property
    def url(self) -> str:
        """The API's URL. The domain of the stack's output is AWS's; the emulator serves the same host below its own."""
        return f'https://{self.output("RestAPIId")}.execute-api.{DOMAIN}:{self.aws.port}/volume'

    def invoke(self, function: str, event: Any = None) -> Any:
        """Invoke a function by hand; fails on an error of it."""
        name, payload = f'{self.stack}-{function}', json.dumps(event or {})
        answer = self.aws.client('lambda').invoke(FunctionName=name, Payload=payload)
        body = answer['Payload'].read()
        assert 'FunctionError' not in answer, body
        return json.loads(body or 'null')

    def executions(self, machine: str, status: str = '') -> list[dict[str, Any]]:
        """The executions of a state machine, with this status if one is given."""
        arn = f'arn:aws:states:{REGION}:{self.aws.account}:stateMachine:{self.stack}-{machine}'
        wanted = {'statusFilter': status} if status else {}
        found: list[dict[str, Any]] = self.aws.client('stepfunctions').list_executions(stateMachineArn=arn, **wanted)[
            'executions'
        ]
        return found

    def states(self, machine: str, id: str) -> list[str]:
        """The states that the execution for a resource entered; waits for its end."""
        wait_for(lambda: self._execution(machine, id)['status'] != 'RUNNING')
        return [each['stateEnteredEventDetails']['name'] for each in self._events_of(machine, id, 'stateEntered')]

    def errors(self, machine: str, id: str) -> set[str]:
        """The names of the errors that tasks of the execution for a resource ended with so far."""
        events = [*self._events_of(machine, id, 'lambdaFunctionFailed'), *self._events_of(machine, id, 'taskFailed')]
        return {each[name]['error'] for each in events for name in each if name.endswith('FailedEventDetails')}

    def _execution(self, machine: str, id: str) -> dict[str, Any]:
        named = [each for each in self.executions(machine) if id.replace('-', '') in each['name']]
        return named[0] if named else {'status': 'RUNNING', 'executionArn': ''}

    def _events_of(self, machine: str, id: str, kind: str) -> list[dict[str, Any]]:
        arn = self._execution(machine, id)['executionArn']
        if not arn:
            return []
        pages = self.aws.client('stepfunctions').get_paginator('get_execution_history').paginate(executionArn=arn)
        return [event for page in pages for event in page['events'] if f'{kind}EventDetails' in event]

    def kept(self) -> list[str]:
        """Everything of the account that carries the stack's name, with or without a stack."""
        of = self.aws.client
        found = [
            *of('dynamodb').list_tables()['TableNames'],
            *(url.rpartition('/')[2] for url in of('sqs').list_queues().get('QueueUrls', ())),
            *(each['FunctionName'] for each in of('lambda').list_functions()['Functions']),
            *(each['name'] for each in of('stepfunctions').list_state_machines()['stateMachines']),
            *(each['RoleName'] for each in of('iam').list_roles()['Roles']),
            *(each['PolicyName'] for each in of('iam').list_policies(Scope='Local')['Policies']),
            *(each['Name'] for each in of('s3').list_buckets()['Buckets']),
            *(each['Name'] for each in of('ssm').describe_parameters()['Parameters']),
            *(each['Name'] for each in of('events').list_rules()['Rules']),
            *(each['logGroupName'] for each in of('logs').describe_log_groups()['logGroups']),
            *(each['AlarmName'] for each in of('cloudwatch').describe_alarms()['MetricAlarms']),
            *(each['Name'] for each in of('secretsmanager').list_secrets()['SecretList']),
            *(each['name'] for each in of('apigateway').get_rest_apis()['items']),
        ]
        return sorted(name for name in found if self.stack in name)

    def _command(self, verb: str, *words: str) -> str:
        done = self._run(verb, *words)
        self.shown = done.stderr
        assert done.returncode == 0, f'{done.stdout[-4000:]}\n{done.stderr[-4000:]}\n{self._events()}'
        return done.stdout

    def _run(self, verb: str, *words: str) -> subprocess.CompletedProcess[str]:
        program = ['cinderless', verb] if (self.root / 'cinderless').exists() else [f'infra.{verb}']  # 0.1.0 has none
        command = [sys.executable, '-m', *program, *words]
        return subprocess.run(
            command, cwd=self.root, env=self.aws.environment, capture_output=True, text=True, timeout=PATIENCE
        )

    def _events(self) -> str:
        """The failures that CloudFormation reports, for the message of a failed test."""
        try:
            events = self.aws.client('cloudformation').describe_stack_events(StackName=self.stack)['StackEvents']
        except self.aws.client('cloudformation').exceptions.ClientError as error:
            return str(error)
        failed = [each for each in events if each['ResourceStatus'].endswith('FAILED')]
        return '\n'.join(f'{each["LogicalResourceId"]}: {each.get("ResourceStatusReason")}' for each in failed)

    def _put_gateway_responses(self) -> None:
        """Do what CloudFormation does with the gateway responses in an API's body: the emulator leaves them out."""
        template = json.loads((self.root / '.build' / 'plain.json').read_text())
        body = template['Resources']['RestAPI']['Properties']['Body']
        gateway, api = self.aws.client('apigateway'), self.output('RestAPIId')
        for kind, facts in body['x-amazon-apigateway-gateway-responses'].items():
            gateway.put_gateway_response(restApiId=api, responseType=kind, **facts)
        gateway.create_deployment(restApiId=api, stageName='volume')

    def _write_stage(self) -> None:
        """``deploy/<stage>.yaml`` and its documents, as an operator writes them (git ignores them)."""
        folder = self.root / 'deploy'
        document = {key: value for key, value in local_document().items() if key != 'signing_key'}
        (folder / f'{self.stage}.identity.json').write_text(json.dumps(document))
        (folder / f'{self.stage}.backends.json').write_text(json.dumps(self.backends()))
        parameters = {
            'Backends': f'@{self.stage}.backends.json',
            'IdentityDocument': f'@{self.stage}.identity.json',
            **self.parameters,
        }
        stage = {'region': REGION, 'stack': self.stack, 'parameters': parameters}
        (folder / f'{self.stage}.yaml').write_text(yaml.safe_dump(stage))

    def _write_clouds(self) -> None:
        version = microversions.text(microversions.MAXIMUM)
        clouds = local_clouds(f'{self.url}/identity/v3', REGION, version)
        for cloud in clouds['clouds'].values():
            cloud['cacert'] = str(self.aws.certificate)
        self.clouds_yaml.write_text(yaml.safe_dump(clouds))

    def backends(self) -> dict[str, Any]:
        """The backends document: the storage host of this machine as in the local cloud, and the emulator's EBS."""
        iscsi = [
            {
                'name': f'xfs-{zone}',
                'driver': 'appliance',
                'availability_zone': zone,
                'options': {
                    'url': f'https://{self.agent.listen}',
                    'fingerprint': self.agent.ready['fingerprint'],
                    'pools': [pool for pool, of in POOLS.items() if of == zone],
                },
                'secrets': {'secret': {'secret': f'{self.stack}/appliance'}},
            }
            for zone in dict.fromkeys(POOLS.values())
        ]
        ebs = {'name': 'ebs', 'driver': 'ebs', 'availability_zone': EBS, 'options': {'zones': [f'{REGION}a']}}
        return {'host': 'cinderless', 'backends': [*iscsi, ebs]}

    def tidy(self) -> None:
        """Remove the stage's files."""
        for path in (self.root / 'deploy').glob(f'{self.stage}.*'):
            path.unlink()


def wait_for(found: Any, seconds: float = 120) -> Any:
    """Return the first true answer of ``found``."""
    deadline = time.monotonic() + seconds
    while not (answer := found()):
        assert time.monotonic() < deadline, 'it took too long'
        time.sleep(0.3)
    return answer
