# Two commands on a fresh machine: `make demo` and `make test`. Everything else is a part of them.
SHELL := /bin/bash
VENV := .venv
PY := $(VENV)/bin/python
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

$(VENV)/ready: requirements.lock pyproject.toml
	python3 -m venv $(VENV)
	$(PY) -m pip install --quiet --require-hashes -r requirements.lock
	$(PY) -m pip install --quiet --no-deps --no-build-isolation -e .
	$(PY) -m dataflows.precompile
	touch $@

setup: $(VENV)/ready ## virtual environment and the servers that the local stack starts
	bash deploy/localstack/ensure_servers.sh

demo: setup ## stream a seeded load with faults and compare every total with the truth
	$(PY) -m loadtest demo

# Tests on real servers wait for them most of the time: one process more than there are cores. In the
# order of folders, since the long ones come first then.
TEST_PROCESSES ?= $(shell expr $$(nproc) + 1)

test: setup check ## every test, on real servers
	$(PY) -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

check: $(VENV)/ready ## style and types; tests for the import table and sizes are part of `test`
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

bench: setup ## measure speed and memory on this machine, as ratios in one run
	$(PY) tests/bench

PEERS_REQUIREMENTS := tests/bench/peers/requirements.txt
.venv-peers/ready: $(PEERS_REQUIREMENTS)
	python3 -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --require-hashes -r $(PEERS_REQUIREMENTS)
	touch $@

bench-peers: setup .venv-peers/ready ## other ways to count the same events, beside Meterline
	PYTHONPATH=.:tests/bench $(PY) tests/bench/peers

dashboards: $(VENV)/ready ## write the dashboards of Grafana from alerts/dashboards
	$(PY) -m alerts.dashboards

picture: setup ## draw the dashboards from real servers into docs/images
	$(PY) tests/dashboards

bench-alerts: $(VENV)/ready ## how well spikes, drops and silence are found, on a labelled year
	PYTHONPATH=. $(PY) tests/bench/alerts

up: setup ## start the local stack and print its addresses
	$(VENV)/bin/meterline stack up
	$(VENV)/bin/meterline stack env

down: ## stop the local stack
	$(VENV)/bin/meterline stack down

.PHONY: help setup demo test check bench bench-alerts bench-peers dashboards picture up down
