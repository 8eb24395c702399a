# The front door. `make help` lists what is here.
VENV := .venv
PYTHON := $(VENV)/bin/python

.PHONY: help setup run test demo bench vectors conformance package lock lint docs clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.complete  ## install what the local cloud and the tests need (Debian packages, .venv, .tools)

$(VENV)/.complete: local/setup.sh requirements.txt requirements-dev.txt
	@sh local/setup.sh $(VENV)
	@touch $@

run: setup  ## the whole cloud on this machine, until Ctrl-C
	@exec $(PYTHON) -m local

test: setup  ## everything that is tested; takes pytest's options in ARGS
	@$(PYTHON) -m pytest -n auto --dist loadgroup $(ARGS)

demo: setup  ## the four workflows on real data, told step by step
	@$(PYTHON) -m local.demo

bench: setup  ## the figures of the README
	@$(PYTHON) -m bench

vectors: setup  ## the scheduler against recorded answers (folder: SCHEDULER_VECTORS)
	@$(PYTHON) -m tests.vectors

conformance: setup  ## the API against recorded facts (folders: API_FACTS, EDGE_VECTORS)
	@$(PYTHON) -m tests.conformance

package: setup  ## .build/template.json and its three archives, ready to deploy
	@$(PYTHON) -m infra.package

lock: setup  ## infra/layers/*.txt: the wheels of the layers, from requirements.txt
	@$(PYTHON) -m infra.lock

lint: setup  ## style and types
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy

docs: setup  ## the generated pages of docs/
	@$(PYTHON) -m docs.generate

clean:  ## remove what was made here, but not .venv and .tools
	@rm -rf .build .local .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
