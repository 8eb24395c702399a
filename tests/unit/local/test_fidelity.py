"""Each rule of the fidelity layer: moto alone breaks it, the local cloud keeps it."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.calls import Call
from local.fidelity import TOKEN_LIFETIME, Transactions, refusal
from local.functions import MAX_REQUEST
from tests.unit.local.conftest import Clients


def code(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response['Error']['Code'])


def put(s3: Any, body: bytes, of: bytes) -> None:
    s3.create_bucket(Bucket='backups')
    s3.put_object(
        Bucket='backups', Key='k', Body=body, ChecksumSHA256=base64.b64encode(hashlib.sha256(of).digest()).decode()
    )


class TestChecksums:
    def test_moto_stores_a_damaged_object(self, bare: Clients) -> None:
        put(bare('s3'), b'damaged', b'whole')

    def test_a_damaged_object_is_refused(self, aws: Clients) -> None:
        with pytest.raises(ClientError) as error:
            put(aws('s3'), b'damaged', b'whole')
        assert code(error) == 'BadDigest'
        assert 'Contents' not in aws('s3').list_objects_v2(Bucket='backups')

    def test_a_whole_object_is_stored(self, aws: Clients) -> None:
        put(aws('s3'), b'whole', b'whole')
        assert aws('s3').get_object(Bucket='backups', Key='k')['Body'].read() == b'whole'

    @pytest.mark.parametrize(
        ('header', 'good'),
        [
            ('content-md5', 'rL0Y20zC+Fzt72VPzMSk2A=='),
            ('x-amz-checksum-crc32', 'jHNlIQ=='),
            ('x-amz-checksum-sha1', 'C+7Hteo/D9vJXQ3UfzxbwnXaijM='),
        ],
    )
    def test_every_checksum_that_is_sent_counts(self, header: str, good: str) -> None:
        call = Call('s3', '', 'PUT', '/backups/k', {header: good}, b'foo')
        assert refusal(call) is None
        assert refusal(Call('s3', '', 'PUT', '/backups/k', {header: good}, b'bar')) is not None

    def test_a_streamed_body_carries_its_checksum_itself(self) -> None:
        headers = {'x-amz-content-sha256': 'STREAMING-UNSIGNED-PAYLOAD-TRAILER', 'x-amz-checksum-crc32': 'wrong'}
        assert refusal(Call('s3', '', 'PUT', '/backups/k', headers, b'foo')) is None


def table(dynamodb: Any) -> Any:
    dynamodb.create_table(
        TableName='t',
        KeySchema=[{'AttributeName': 'id', 'KeyType': 'HASH'}],
        AttributeDefinitions=[{'AttributeName': 'id', 'AttributeType': 'S'}],
        BillingMode='PAY_PER_REQUEST',
    )
    return dynamodb


def add(dynamodb: Any, amount: int, token: str) -> None:
    update = {
        'TableName': 't',
        'Key': {'id': {'S': 'counter'}},
        'UpdateExpression': 'ADD n :n',
        'ExpressionAttributeValues': {':n': {'N': str(amount)}},
    }
    dynamodb.transact_write_items(TransactItems=[{'Update': update}], ClientRequestToken=token)


def counter(dynamodb: Any) -> str:
    return str(dynamodb.get_item(TableName='t', Key={'id': {'S': 'counter'}})['Item']['n']['N'])


class TestTransactions:
    def test_moto_applies_a_repeated_transaction_twice(self, bare: Clients) -> None:
        dynamodb = table(bare('dynamodb'))
        add(dynamodb, 1, 'token')
        add(dynamodb, 1, 'token')
        assert counter(dynamodb) == '2'

    def test_a_repeated_transaction_is_applied_once(self, aws: Clients) -> None:
        dynamodb = table(aws('dynamodb'))
        add(dynamodb, 1, 'once')
        add(dynamodb, 1, 'once')
        add(dynamodb, 1, 'other')
        assert counter(dynamodb) == '2'

    def test_a_token_with_another_request_is_refused(self, aws: Clients) -> None:
        dynamodb = table(aws('dynamodb'))
        add(dynamodb, 1, 'reused')
        with pytest.raises(ClientError) as error:
            add(dynamodb, 2, 'reused')
        assert code(error) == 'IdempotentParameterMismatchException'

    def test_a_transaction_that_failed_may_be_repeated(self) -> None:
        transactions = Transactions()
        call = Call('dynamodb', 'TransactWriteItems', 'POST', '/', {}, b'{"ClientRequestToken": "t"}')
        transactions.observe(call, (400, {}, '{}'))
        assert transactions.refusal(call) is None

    def test_a_token_is_forgotten_after_ten_minutes(self) -> None:
        now = [0.0]
        transactions = Transactions(lambda: now[0])
        call = Call('dynamodb', 'TransactWriteItems', 'POST', '/', {}, b'{"ClientRequestToken": "t"}')
        transactions.observe(call, (200, {}, '{}'))
        assert transactions.refusal(call) is not None
        now[0] = TOKEN_LIFETIME + 1
        assert transactions.refusal(call) is None


def machine(clients: Clients) -> str:
    clients('iam').create_role(RoleName='r', AssumeRolePolicyDocument='{}')
    definition = '{"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}}'
    role = 'arn:aws:iam::123456789012:role/r'
    created = clients('stepfunctions').create_state_machine(name='m', definition=definition, roleArn=role)
    return str(created['stateMachineArn'])


def start(clients: Clients, name: str, text: str) -> None:
    clients('stepfunctions').start_execution(stateMachineArn=machine(clients), name=name, input=json.dumps(text))


class TestExecutions:
    @pytest.mark.parametrize(('name', 'text'), [('n' * 81, 'x'), ('n', 'x' * 262_144)])
    def test_moto_takes_any_name_and_input(self, bare: Clients, name: str, text: str) -> None:
        start(bare, name, text)

    @pytest.mark.parametrize('name', ['n' * 81, 'a b', 'a:b', 'a/b'])
    def test_a_bad_name_is_refused(self, aws: Clients, name: str) -> None:
        with pytest.raises(ClientError) as error:
            start(aws, name, 'x')
        assert code(error) == 'InvalidName'

    def test_too_large_an_input_is_refused(self, aws: Clients) -> None:
        with pytest.raises(ClientError) as error:
            start(aws, 'n', 'x' * 262_144)
        assert code(error) == 'ValidationException'

    def test_the_longest_name_is_taken(self, aws: Clients) -> None:
        start(aws, 'n' * 80, 'x')


class TestInvokes:
    def test_too_large_a_payload_is_refused(self, aws: Clients) -> None:
        create_function(aws)
        with pytest.raises(ClientError) as error:
            aws('lambda').invoke(FunctionName='echo', Payload=json.dumps('x' * MAX_REQUEST))
        assert code(error) == 'RequestEntityTooLargeException'

    def test_the_handler_answers(self, aws: Clients) -> None:
        create_function(aws)
        answer = aws('lambda').invoke(FunctionName='echo', Payload='{"a": 1}')
        assert json.load(answer['Payload']) == {'a': 1}
        assert 'FunctionError' not in answer

    def test_its_error_is_marked(self, aws: Clients) -> None:
        create_function(aws)
        answer = aws('lambda').invoke(FunctionName='echo', Payload='{"fail": 1}')
        assert answer['FunctionError'] == 'Unhandled'
        assert json.load(answer['Payload'])['errorType'] == 'KeyError'

    def test_an_event_is_accepted_at_once(self, aws: Clients) -> None:
        create_function(aws)
        answer = aws('lambda').invoke(FunctionName='echo', InvocationType='Event', Payload='{"fail": 1}')
        assert answer['StatusCode'] == 202

    def test_an_unknown_function_is_not_found(self, aws: Clients) -> None:
        with pytest.raises(ClientError) as error:
            aws('lambda').invoke(FunctionName='unknown')
        assert code(error) == 'ResourceNotFoundException'


def echo(event: dict[str, Any], context: Any) -> dict[str, Any]:
    if 'fail' in event:
        raise KeyError('fail')
    return event


def create_function(clients: Clients) -> None:
    role = clients('iam').create_role(RoleName='f', AssumeRolePolicyDocument='{}')['Role']['Arn']
    clients('lambda').create_function(
        FunctionName='echo',
        Role=role,
        Runtime='python3.13',
        Handler=f'{__name__}.echo',
        Code={'ZipFile': b'x'},
        Timeout=10,
    )


class TestQueues:
    """Limits that moto keeps itself, so that nothing is done here; an update of moto must not lose them."""

    def test_a_message_above_one_mebibyte_is_refused(self, aws: Clients) -> None:
        sqs = aws('sqs')
        url = sqs.create_queue(QueueName='q')['QueueUrl']
        sqs.send_message(QueueUrl=url, MessageBody='x' * 1024 * 1024)
        with pytest.raises(ClientError) as error:
            sqs.send_message(QueueUrl=url, MessageBody='x' * (1024 * 1024 + 1))
        assert 'InvalidParameterValue' in code(error)


class TestKeys:
    """What the service relies on for sealed secrets and wrapped keys."""

    def sealed(self, kms: Any) -> tuple[str, bytes]:
        key = kms.create_key()['KeyMetadata']['KeyId']
        context = {'purpose': 'a'}
        return key, kms.encrypt(KeyId=key, Plaintext=b'secret', EncryptionContext=context)['CiphertextBlob']

    def test_another_context_opens_nothing(self, aws: Clients) -> None:
        _, blob = self.sealed(aws('kms'))
        with pytest.raises(ClientError) as error:
            aws('kms').decrypt(CiphertextBlob=blob, EncryptionContext={'purpose': 'b'})
        assert code(error) == 'InvalidCiphertextException'

    def test_another_key_opens_nothing(self, aws: Clients) -> None:
        _, blob = self.sealed(aws('kms'))
        other, _ = self.sealed(aws('kms'))
        with pytest.raises(ClientError) as error:
            aws('kms').decrypt(KeyId=other, CiphertextBlob=blob, EncryptionContext={'purpose': 'a'})
        assert code(error) in ('IncorrectKeyException', 'AccessDeniedException')  # AWS's and moto's word for it

    def use(self, kms: Any, verb: str, key: str, blob: bytes) -> None:
        parameters: dict[str, Any] = {
            'encrypt': {'KeyId': key, 'Plaintext': b'x'},
            'decrypt': {'CiphertextBlob': blob, 'EncryptionContext': {'purpose': 'a'}},
            'generate_data_key': {'KeyId': key, 'KeySpec': 'AES_256'},
        }[verb]
        getattr(kms, verb)(**parameters)

    @pytest.mark.parametrize('verb', ['encrypt', 'decrypt', 'generate_data_key'])
    def test_moto_uses_a_disabled_key(self, bare: Clients, verb: str) -> None:
        key, blob = self.sealed(bare('kms'))
        bare('kms').disable_key(KeyId=key)
        self.use(bare('kms'), verb, key, blob)

    @pytest.mark.parametrize('verb', ['encrypt', 'decrypt', 'generate_data_key'])
    def test_a_disabled_key_is_of_no_use_until_it_is_enabled(self, aws: Clients, verb: str) -> None:
        key, blob = self.sealed(aws('kms'))
        aws('kms').disable_key(KeyId=key)
        with pytest.raises(ClientError) as error:
            self.use(aws('kms'), verb, f'arn:aws:kms:us-east-1:123456789012:key/{key}', blob)
        assert code(error) == 'DisabledException'
        aws('kms').enable_key(KeyId=key)
        self.use(aws('kms'), verb, key, blob)

    @pytest.mark.parametrize('verb', ['encrypt', 'decrypt', 'generate_data_key'])
    def test_a_key_to_be_deleted_is_of_no_use(self, aws: Clients, verb: str) -> None:
        key, blob = self.sealed(aws('kms'))
        aws('kms').schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
        with pytest.raises(ClientError) as error:
            self.use(aws('kms'), verb, key, blob)
        assert code(error) == 'KMSInvalidStateException'
