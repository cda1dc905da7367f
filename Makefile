# Every target is a command that you could type. Variables: make up WEIGHTS=tiny CORES=0-3 ENGINE=local PORT=9000 SLO=500 GPU=0 SHM=1 HOST=..
# For models of your own: make up MODELS=DIR ONLY=1 REQUIREMENTS=FILE WORKLOAD=FILE.py
SHELL := bash
.SHELLFLAGS := -o pipefail -c
WEIGHTS ?= real
FITS := import sys, ensurepip; assert (3, 10) <= sys.version_info < (3, 13)
PYTHON ?= $(shell for p in python3 python3.12 python3.11 python3.10; do $$p -c '$(FITS)' 2>/dev/null && echo $$p && break; done)
PY := .venv/bin/python
CROSSOVER := $(PY) -m crossover
DRIVER := import ctypes, sys; print(int(sys.version_info >= (3, 11) and not ctypes.CDLL("libcuda.so.1").cuInit(0)))
GPU ?= $(shell $(or $(wildcard $(PY)),$(PYTHON)) -c '$(DRIVER)' 2>/dev/null)# 1 where a driver answers
ENV := .venv/run.done $(if $(filter 1,$(GPU)),.venv/gpu.done)
NETWORKS = $(if $(filter real fp16,$(WEIGHTS)),$(CROSSOVER) models$(if $(filter fp16,$(WEIGHTS)), --fp16) && )# for what starts servers of its own; `up` exports by itself
SETTINGS = $(foreach each,ENGINE.engine HOST.host CORES.cores SLO.slo PORT.http-port,$(call flag,$(subst ., ,$(each))))
OWN = $(foreach each,MODELS.models REQUIREMENTS.requirements WORKLOAD.workload,$(call path,$(subst ., ,$(each))))$(if $(filter-out 0,$(ONLY)), --only)
flag = $(if $($(word 1,$(1))),--$(word 2,$(1))=$($(word 1,$(1))))
path = $(if $($(word 1,$(1))),--$(word 2,$(1))='$($(word 1,$(1)))')
UP = $(CROSSOVER) up $(if $(ASKED),--weights $(WEIGHTS)) $(SETTINGS) $(OWN)$(if $(filter 0,$(GPU)), --no-gpu)$(if $(filter 1,$(SHM)), --shm)
ASKED = $(filter-out up,$@)$(filter-out file,$(origin WEIGHTS))# `up` alone leaves a server as it is, and figures are of these weights
SECONDS ?= $(if $(QUICK),80,$(if $(FULL),3600))
MEASURED = || exit $$(($$? == 3 ? 0 : $$?))# a measurement that decides nothing is no error of make: 1, 2, 4 and 130 are
IDLE = || { code=$$?; test $$code -eq 1 -a ! -e .run/server.json || exit $$code; }# 1 without a server only says that nothing runs
INSTALLED = @test -e .venv/run.done || { echo "nothing is installed, nothing runs"; exit 0; };
PIP := $(PY) -m pip --disable-pip-version-check install --progress-bar off --no-warn-conflicts --require-hashes
COUNT = 2>&1 | { while read -r line; do case "$$line" in Collecting*) : $$((++n)); [ ! -t 1 ] || { printf '\r  packages: %d' $$n; open=1; };; \
  Installing*) [ ! "$$n" ] || { [ -t 1 ] || printf '  packages: %d' $$n; printf ', unpacking them'; open=1; };; *"connection broken by"*) offline=1;; \
  ERROR*|error*) case "$$offline$$line" in 1*"No matching distribution"*) continue;; 1*"from versions: none"*) line="$(OFFLINE)";; esac; \
    printf "$${open:+\\n}%s\n" "$$line"; open=;; esac; done; [ ! "$$open" ] || echo; }
OFFLINE := the package index does not answer: the first make needs the network once, or an index of yours as PIP_INDEX_URL; then make again

bench up down capacity clients efficiency sweep overload soak status logs models: export CROSSOVER_TOOL := make# for hints
bench: $(ENV)  ## everything: environment, networks, server, comparison, report; QUICK=1 two minutes, FULL=1 an hour
	@$(UP)
	@$(CROSSOVER) compare $(call flag,SECONDS seconds) $(ARGS) $(MEASURED)
	@echo 'the server still runs; `make down` stops it'
up: $(ENV)  ## start the server: in Docker, or as a local process where no engine answers
	@$(UP) $(ARGS)
down:  ## stop it, leaving nothing behind
	$(INSTALLED) $(CROSSOVER) down $(ARGS)
image: $(ENV)  ## Locust's page for photographs, on http://localhost:8089; ARGS="--web-port 8091" on another port
audio: $(ENV)  ## the same for speech
image audio:
	.venv/bin/locust -f loadgen/$@.py --web-host 127.0.0.1 $(ARGS)

capacity: $(ENV)  ## per arm, the rate at which it reaches a latency limit; then what bursts do to it
clients: $(ENV)  ## naive, threaded and asynchronous clients under uniform, Poisson and video arrivals
efficiency: $(ENV)  ## does an ensemble answer as many requests as its steps allow?
capacity clients efficiency:
	@$(UP)
	@$(CROSSOVER) $@ $(ARGS) $(MEASURED)
sweep: $(ENV)  ## server against client over input sizes, workers and network rates: where the answer changes
	@$(NETWORKS)$(CROSSOVER) sweep $(call flag,ENGINE engine) $(ARGS) $(MEASURED)
overload: $(ENV)  ## 1, 2 and 5 times what the server can carry, and a spike: with its bounds, then without
	@$(NETWORKS)$(CROSSOVER) overload --start $(WEIGHTS) $(ARGS) $(MEASURED)
soak: $(ENV)  ## good and damaged files at half capacity, with a stub killed now and then: what grows, what drifts
	@$(NETWORKS)$(CROSSOVER) soak --weights $(WEIGHTS) $(ARGS) $(MEASURED)
status:  ## what runs where, and whether it answers
	$(INSTALLED) $(CROSSOVER) status $(ARGS) $(IDLE)
logs:  ## the server's log
	$(INSTALLED) $(CROSSOVER) logs $(ARGS) $(IDLE)
observe:  ## Prometheus and Grafana in Docker, beside a server and load generators of this machine; ARGS=down stops them
	@docker info > /dev/null 2>&1 && for compose in 'docker compose' docker-compose; do $$compose version > /dev/null 2>&1 && \
	  exec $$compose -p crossover-observe -f docker-compose.observe.yml $(or $(ARGS),up -d); done; \
	  echo 'make observe needs Docker with compose; without: docs/metrics.md'; exit 1
models: $(ENV)  ## ResNet-50 and wav2vec2-base as ONNX: pretrained, or said loudly if not
	$(CROSSOVER) models $(ARGS)
env: $(ENV)  ## the environment of server, load generator and command line, in .venv; GPU=1 or 0: with CUDA's libraries, or never
clean: down  ## remove the environment, the networks and the server's state; reports stay
	rm -rf .venv .venv-chart .run *.egg-info {,examples/*/}model_repository/*/1/model{,.fp16}.onnx model_repository/*/provenance*.json
test: .venv/test.done  ## the test suite, on the real server with tiny stand-in networks; four files at a time
	$(PY) -m pytest -n 4 --dist loadfile --no-loadscope-reorder $(ARGS)
coverage: .venv/test.done  ## the test suite, with how much of the code it runs, the server's stubs included; takes longer
	$(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder --cov --cov-report=term $(ARGS)
test-faults: .venv/test.done  ## hostile input, overload, crashes, strangers, and all else that `make test` leaves out as too long
	$(PY) -m pytest -m "long or not long" tests/faults $(ARGS)
	$(PY) -m pytest -m long --ignore tests/faults $(ARGS)
test-export: .venv/test.done  ## the tests that export a network with torch (minutes, a download of 0.2 to 3 GB)
	$(PY) -m pytest -m export tests/test_models.py tests/examples $(ARGS)
test-chart: .venv-chart/test.done  ## the tests of the Helm chart: Helm as a library, in an environment of their own (0.4 GB)
	.venv-chart/bin/python -m pytest -m chart --confcutdir tests/chart tests/chart $(ARGS)
lint: .venv/test.done  ## ruff (style, names, docstrings) and mypy (types)
	.venv/bin/ruff check .
	.venv/bin/mypy
bench-loadgen: $(ENV)  ## the load generator's own speed, beside perf_analyzer's
	$(PY) -m benchmarks.loadgen $(ARGS)
help:  ## this list
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 16

.venv/run.done: requirements/run.txt requirements/server.txt pyproject.toml
	@$(PYTHON) -c '$(FITS)' 2>/dev/null || { echo "no Python 3.10 to 3.12 with venv found: install one (Debian: python3-venv), or give it as PYTHON=..."; exit 1; }
	@echo "installing the environment into .venv: 2 GB, a minute or two"
	@$(PYTHON) -m venv .venv
	@$(PIP) -r requirements/run.txt $(COUNT)
	@$(PIP) --no-deps -r requirements/server.txt $(COUNT)
	@$(subst --require-hashes,--no-index,$(PIP)) --no-deps --no-build-isolation -e . $(COUNT)
	@touch $@
.venv/gpu.done: .venv/run.done requirements/gpu.txt
	@$(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "onnxruntime-gpu has no wheels for Python 3.10: make clean env PYTHON=python3.12"; exit 1; }
	@echo "for the GPU: onnxruntime-gpu and CUDA's libraries, 2 GB more; GPU=0 goes without"
	@$(PY) -m pip --disable-pip-version-check uninstall --yes --quiet onnxruntime onnxruntime-gpu
	@$(PIP) -r requirements/gpu.txt $(COUNT)
	@touch $@
.venv/test.done: .venv/run.done requirements/dev.txt
	@$(PIP) -r requirements/dev.txt $(COUNT)
	@if [ -e .venv/gpu.done ]; then rm .venv/gpu.done && $(MAKE) --no-print-directory .venv/gpu.done; fi  # dev.txt has the other onnxruntime
	@touch $@
.venv-chart/test.done: requirements/chart.txt
	@$(PYTHON) -m venv .venv-chart
	@$(subst $(PY),.venv-chart/bin/python,$(PIP)) -r requirements/chart.txt $(COUNT)
	@touch $@

.PHONY: $(shell sed -nE 's/^([a-z-]+):.*/\1/p' $(firstword $(MAKEFILE_LIST)))
.DEFAULT_GOAL := help
