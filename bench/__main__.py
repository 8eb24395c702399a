"""``make bench``: print every figure that the README and the docs name. ``python -m bench service`` prints one part."""

from __future__ import annotations

import importlib
import sys

from bench.figures import pace

#: Modules of this package with a ``run`` that returns (measurement, figure) rows.
PARTS = (
    'api',
    'service',
    'durable',
    'scheduler',
    'iscsi',
    'backup',
    'changed_blocks',
    'coldstart',
    'policies',
    'console',
    'moving',
)


def main(parts: list[str]) -> int:
    unknown = set(parts) - set(PARTS)
    if unknown:
        print(f'unknown part {", ".join(sorted(unknown))}; there are {", ".join(PARTS)}', file=sys.stderr)
        return 2
    for part in parts or PARTS:
        print(f'\n## {part}\n\n| measured | figure |\n|---|---|', flush=True)
        print(f'| CPU of a fixed computation, before | {pace()} |', flush=True)
        for name, figure in importlib.import_module(f'bench.{part}').run():
            print(f'| {name} | {figure} |', flush=True)
        print(f'| CPU of a fixed computation, after | {pace()} |', flush=True)
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
