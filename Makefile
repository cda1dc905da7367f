# Every target is a command that you could type. Variables: make up WEIGHTS=tiny CORES=0-3 ENGINE=local

ENGINE  ?= auto
WEIGHTS ?= real
CORES   ?=
SLO     ?=
HOST    ?= 127.0.0.1
PORT    ?= 8000
SECONDS ?= $(if $(FULL),3600,$(if $(QUICK),80,270))
ROUNDS  ?=
ARGS    ?=
# A run that is continued is extended only by what ARGS says itself.
LENGTH  := $(if $(findstring --continue,$(ARGS)),,--seconds $(SECONDS)) $(if $(ROUNDS),--rounds $(ROUNDS))

FITS := import sys, ensurepip; assert (3, 10) <= sys.version_info < (3, 13)
ifndef PYTHON
PYTHON := $(shell for p in python3 python3.12 python3.11 python3.10; do $$p -c '$(FITS)' 2>/dev/null && echo $$p && break; done)
endif
PORTS := --http-port $(PORT) --grpc-port $(shell expr $(PORT) + 1) --metrics-port $(shell expr $(PORT) + 2)
PIP := .venv/bin/pip --disable-pip-version-check install -q --require-hashes

help:      ## this list
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 16

bench: .venv/run.done  ## everything: environment, models, server, comparison, report; QUICK=1 under two minutes, FULL=1 an hour
	@$(MAKE) --no-print-directory ARGS= models up
	.venv/bin/crossover compare --url http://localhost:$(PORT) $(LENGTH) $(ARGS) || test $$? -eq 3

test: .venv/test.done  ## the test suite, on the real server with tiny stand-in networks; three files at a time
	.venv/bin/python -m pytest -n 3 --dist loadfile $(ARGS)

coverage: .venv/test.done  ## the test suite, with how much of the code it runs, the server's stubs included; takes longer
	.venv/bin/python -m pytest -n 2 --dist loadfile --cov --cov-report=term $(ARGS)

lint: .venv/test.done  ## ruff (style, names, docstrings) and mypy (types)
	.venv/bin/ruff check .
	.venv/bin/mypy

env: .venv/run.done  ## the environment of server and load generator, in .venv

models: .venv/run.done  ## ResNet-50 and wav2vec2-base as ONNX: pretrained, or said loudly if not
	.venv/bin/python -m models $(ARGS)

up: .venv/run.done  ## start Triton (Docker, or a local process where no engine answers) and wait until it infers
	.venv/bin/python -m serving up --engine $(ENGINE) --weights $(WEIGHTS) --host $(HOST) $(PORTS) $(if $(CORES),--cores $(CORES)) $(if $(SLO),--slo $(SLO)) $(ARGS)

down: .venv/run.done  ## stop it, leaving nothing behind
	.venv/bin/python -m serving down

status: .venv/run.done  ## what runs where, and whether it infers
	.venv/bin/python -m serving status

logs: .venv/run.done  ## the server's log
	.venv/bin/python -m serving logs $(ARGS)

image: .venv/run.done  ## Locust's web UI for photographs, on http://localhost:8089
	.venv/bin/locust -f loadgen/image.py --web-host 127.0.0.1 --host http://localhost:$(PORT) $(ARGS)

audio: .venv/run.done  ## the same for speech
	.venv/bin/locust -f loadgen/audio.py --web-host 127.0.0.1 --host http://localhost:$(PORT) $(ARGS)

capacity: .venv/run.done  ## per arm, the Poisson rate at which it reaches a latency limit; then what bursts do to it
	@$(MAKE) --no-print-directory ARGS= models up
	.venv/bin/crossover capacity --url http://localhost:$(PORT) $(ARGS) || test $$? -eq 3

sweep: .venv/run.done  ## server against client over input sizes, workers and network rates: where it turns over
	@$(MAKE) --no-print-directory ARGS= models
	.venv/bin/crossover sweep --engine $(ENGINE) $(ARGS) || test $$? -eq 3

efficiency: .venv/run.done  ## does an ensemble answer as many requests as its steps allow?
	@$(MAKE) --no-print-directory ARGS= models up
	.venv/bin/crossover efficiency --url http://localhost:$(PORT) $(ARGS) || test $$? -eq 3

clients: .venv/run.done  ## naive, threaded and asynchronous clients under uniform, Poisson and video arrivals
	@$(MAKE) --no-print-directory ARGS= models up
	.venv/bin/crossover clients --url http://localhost:$(PORT) $(ARGS) || test $$? -eq 3

soak: .venv/run.done  ## good and damaged files at half capacity, with a stub killed now and then: what grows, what drifts
	.venv/bin/crossover soak $(ARGS) || test $$? -eq 3

overload: .venv/run.done  ## 1, 2 and 5 times what the server can carry, and a spike: with its bounds, then without
	@$(MAKE) --no-print-directory ARGS= models
	.venv/bin/crossover overload --start $(WEIGHTS) $(ARGS) || test $$? -eq 3

bench-loadgen: .venv/run.done  ## the load generator's own speed, beside perf_analyzer's
	.venv/bin/python -m benchmarks.loadgen $(ARGS)

clean: down  ## remove the environment, the models and the server's state; reports stay
	rm -rf .venv .run model_repository/*/1/model.onnx model_repository/*/provenance.json

.venv/run.done: requirements/run.txt requirements/server.txt pyproject.toml
	@$(PYTHON) -c '$(FITS)' 2>/dev/null || { echo "no Python 3.10 to 3.12 with venv found: install one (Debian: python3-venv), or give it as PYTHON=..."; exit 1; }
	@echo "installing the environment into .venv: about 2 GB, a minute or two"
	@$(PYTHON) -m venv .venv
	@$(PIP) -r requirements/run.txt
	@$(PIP) --no-deps -r requirements/server.txt
	@.venv/bin/pip --disable-pip-version-check install -q --no-deps --no-build-isolation --no-index -e .
	@touch $@

.venv/test.done: .venv/run.done requirements/dev.txt
	@$(PIP) -r requirements/dev.txt
	@touch $@

test-faults: .venv/test.done  ## hostile input, overload, crashes and strangers, on the real server, and all else that `make test` leaves out as too long
	.venv/bin/python -m pytest -m "long or not long" tests/faults $(ARGS)
	.venv/bin/python -m pytest -m long --ignore tests/faults $(ARGS)

test-export: .venv/test.done  ## the tests that export a network with torch (minutes, a download of 0.2 to 3 GB)
	.venv/bin/python -m pytest -m export tests/test_models.py $(ARGS)

.PHONY: help bench capacity sweep efficiency clients test soak overload bench-loadgen coverage test-faults test-export lint env models up down status logs image audio clean
.DEFAULT_GOAL := help
