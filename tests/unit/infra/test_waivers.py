"""Waivers of checkov's findings: each says why, and one that is no longer needed is reported (make checkov runs it)."""

from __future__ import annotations

import re

from tests import checkov


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
    import json

    from infra.render import templates

    declared = json.loads((templates() / 'template.json').read_text())['Parameters']
    named = set(re.findall(r'\b(?:Api|Backup)[A-Z]\w+|\bTracing\b', ' '.join(checkov.waived().values())))
    assert named
    assert named <= set(declared)
