"""Documents that are parsed once, and quickly."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import json, botocore.loaders, botocore.session
read = []
original = botocore.loaders.JSONFileLoader._load_file
def counted(self, path, opened):
    found = original(self, path, opened)
    if found is not None:
        read.append(path)
    return found
botocore.loaders.JSONFileLoader._load_file = counted
from local import parsing
parsing.install()
parsing.install()
read.clear()
for _ in range(2):
    client = botocore.session.Session().create_client('sqs', region_name='us-east-1')
assert client.meta.service_model.operation_names
assert len(read) == len(set(read)) and any('endpoints' in path for path in read), read
import yaml
from moto.cloudformation.models import Stack
assert Stack.parse_template('Resources: !Sub x')['Resources'] == {'Fn::Sub': 'x'}
yaml.load = None
assert Stack.parse_template('{"Resources": {}}') == {'Resources': {}}
print('parsed')
"""


def test_descriptions_are_parsed_once_and_templates_in_json_as_json() -> None:
    done = subprocess.run([sys.executable, '-c', PROGRAM], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == 'parsed\n', done.stderr
