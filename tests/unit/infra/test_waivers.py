"""Independent linters on the rendered template: checkov with its waivers, and asl-validator.

cfn-lint is in test_template.py. checkov has an environment of its own, which the first run creates.
"""

from __future__ import annotations

import json
import re
from typing import Any

from infra import quotas
from infra.quotas import Deployment
from infra.render import templates
from tests import checkov, iam


def test_every_waiver_says_why() -> None:
    for check, why in checkov.waived().items():
        assert re.fullmatch(r'CKV2?_AWS_\d+', check)
        assert why.endswith('.')
        assert len(why.split()) >= 8, check


def test_new_findings_and_old_waivers_are_reported() -> None:
    known = {'CKV_AWS_1': 'for a reason', 'CKV_AWS_2': 'for another'}
    assert checkov.complaints([('CKV_AWS_1', 'A'), ('CKV_AWS_1', 'B')], known) == [
        'CKV_AWS_2 is waived, and checkov does not find it'
    ]
    assert checkov.complaints([('CKV_AWS_2', 'A'), ('CKV_AWS_3', 'B'), ('CKV_AWS_1', 'C')], known) == ['CKV_AWS_3 B']


def test_waivers_name_parameters_that_exist() -> None:
    declared = json.loads((templates() / 'template.json').read_text())['Parameters']
    named = set(re.findall(r'\b(?:Api|Backup)[A-Z]\w+|\bTracing\b', ' '.join(checkov.waived().values())))
    assert named
    assert named <= set(declared)


def test_every_finding_of_checkov_is_waived_in_writing() -> None:
    assert checkov.complaints(checkov.run(), checkov.waived()) == []


def machines() -> dict[str, Any]:
    """{name: definition} as they are deployed."""
    template = json.loads((templates() / 'plain.json').read_text())
    deployment = Deployment(template, quotas.declared(template))
    scope = deployment.scope()
    return {
        scope.resolve(body['StateMachineName']): json.loads(scope.resolve(body['DefinitionString']))
        for body in deployment.of_type('AWS::StepFunctions::StateMachine').values()
    }


def test_asl_validator_finds_nothing() -> None:
    assert iam.invalid_machines(machines()) == {}


def test_asl_validator_finds_what_is_wrong() -> None:
    found = machines()
    name, machine = next(iter(found.items()))
    state = next(iter(machine['States'].values()))
    state['Nxt'] = 'Nowhere'
    lost = {'StartAt': 'A', 'States': {'A': {'Type': 'Pass', 'Next': 'B'}}}
    assert set(iam.invalid_machines({name: machine, 'lost': lost})) == {name, 'lost'}
