"""State machines as files: ``stepfunctions/<name>.asl.yaml``, YAML for the reader, JSON for the template."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

SUFFIX = '.asl.yaml'

#: Limit of AWS for one definition, in bytes.
MAX_DEFINITION = 1024 * 1024


def load(path: Path) -> dict[str, Any]:
    """Return one machine's definition as data. Raises ValueError when the file holds no mapping."""
    definition = yaml.safe_load(path.read_text(encoding='utf-8'))
    if not isinstance(definition, dict):
        raise ValueError(f'{path.name}: a state machine is a mapping with StartAt and States')
    return definition


def render(path: Path) -> str:
    """Return one machine's definition as compact JSON; ``${VolumeWorkerArn}`` and its like are left to the template."""
    text = json.dumps(load(path), separators=(',', ':'))
    if len(text.encode()) > MAX_DEFINITION:
        raise ValueError(f'{path.name}: {len(text.encode())} bytes, and Step Functions takes {MAX_DEFINITION}')
    return text


def machines(folder: Path) -> dict[str, str]:
    """Return {machine's name: definition} for every ``*.asl.yaml`` of a folder, sorted by name."""
    return {path.name.removesuffix(SUFFIX): render(path) for path in sorted(folder.glob(f'*{SUFFIX}'))}
