# make run     install what is needed and start CyberImage on http://127.0.0.1:5050
# make test    install what the tests need and run all of them
# make check   the quick part: lint, types, architecture, unit tests
# make check-numbers   the numerical tests as other processors would run them (about half an hour)
# make check-load      the tests with threads and processes, five times, beside eight busy loops (hours)
# make bench   the benchmarks; docs/BENCHMARKS.md explains them
# make crash   kill and freeze everything for MINUTES=10 per database; nothing may be lost or published twice
# make chaos   the same beside faults of the machine: disks, database, locks, clocks
# make screenshots   pictures of every view of the page, into OUT=screenshots
# make docs    the generated part of the documentation
# make lock    locks/ anew, after a change of the requirements: versions and hashes of all packages, for all platforms
# make check-catalogue   whether the hub has the repositories of all models of the catalogue (asks the network)
# make sbom    a bill of materials of those packages (CycloneDX), into sbom.json
# make audit   known vulnerabilities in what CyberImage runs on (asks the network)

# make stop    stop the one that runs here: what is in work finishes or goes back to the queue
# make reload  have it take over changed settings
# make logs    follow its log
# make build   the container image, for GPUs or with DEVICE=cpu
# make api-test      a long schemathesis run against a server of its own; EXAMPLES=200 per operation
# make fuzz      nonsense of all kinds against a server of its own, for MINUTES=10
# make clients   clients of other products against a server of its own; MORE=sillytavern for the large ones
# make gpu-kit   what a bare GPU machine lacks to run the GPU proof, into KIT=.gpu-kit, and the one command to run there
# make load, make soak   many clients for MINUTES=10; 5,000 jobs of two models in turn

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
ARGS ?=
MINUTES ?= 10
OUT ?= screenshots
EXAMPLES ?= 200
DEVICE ?= gpu
LOG_DIR ?= logs
KIT ?= .gpu-kit

.PHONY: gpu-kit clients check-catalogue run stop reload logs build test check check-numbers check-predictions check-load lint api-test fuzz bench load soak crash chaos screenshots docs lock sbom audit clean

run: .venv/run-installed
	@$(BIN)/python run.py $(ARGS)

stop: .venv/run-installed
	@$(BIN)/python run.py --stop

reload: .venv/run-installed
	@$(BIN)/python run.py --reload

logs:
	@tail -n 50 -F $(LOG_DIR)/app.log

build:
	docker build -t cyberimage$(if $(filter cpu,$(DEVICE)),:cpu) --build-arg DEVICE=$(DEVICE) .

test: lint .venv/browser
	@$(BIN)/python -m pytest -q -n 2 --dist loadgroup --no-loadscope-reorder -m "not e2e and not browser"
	@$(BIN)/python -m pytest -q -n 2 --dist loadgroup --no-loadscope-reorder -m "e2e or browser"

check: lint
	@$(BIN)/python -m pytest -q -n 2 -m "not slow and not e2e and not browser"

check-numbers: .venv/dev-installed
	@$(BIN)/python -m tools.check_numbers $(ARGS)

check-load: .venv/dev-installed
	@$(BIN)/python -m tools.check_under_load $(ARGS)

lint: .venv/dev-installed
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/deptry app cyberimage

bench: .venv/dev-installed
	@$(BIN)/python -m bench $(ARGS)

api-test: .venv/dev-installed
	@EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest -q --timeout 7200 tests/hostile/test_schema.py

check-predictions: .venv/dev-installed
	@PREDICTION_STEPS=$(or $(STEPS),10000) $(BIN)/python -m pytest -q -s --timeout 0 tests/providers/test_machine.py

clients: .venv/dev-installed
	@$(BIN)/python -m tools.clients $(MORE)

gpu-kit: .venv/dev-installed
	@$(BIN)/python -m bench.gpu.kit $(KIT)

fuzz: .venv/dev-installed
	@$(BIN)/python -m tests.hostile.fuzz --minutes $(MINUTES)

load: .venv/dev-installed
	@$(BIN)/python -m bench.load --minutes $(MINUTES) $(ARGS)

soak: .venv/dev-installed
	@$(BIN)/python -m bench.soak $(ARGS)

crash: .venv/dev-installed
	@$(BIN)/python -m tests.e2e.crash --minutes $(MINUTES) --database sqlite
	@$(BIN)/python -m tests.e2e.crash --minutes $(MINUTES) --database postgres

chaos: .venv/dev-installed
	@$(BIN)/python -m tests.e2e.crash --machine --minutes $(MINUTES) --database sqlite
	@$(BIN)/python -m tests.e2e.crash --machine --minutes $(MINUTES) --database postgres

screenshots: .venv/dev-installed .venv/browser
	@$(BIN)/python -m tools.screenshots $(OUT)

lock: .venv/dev-installed
	@$(PIP) "uv==0.13.9"
	@$(BIN)/python -m tools.lock

sbom: .venv/dev-installed
	@$(PIP) "cyclonedx-bom==7.5.0"
	@cat locks/run.txt locks/torch.txt locks/no-deps.txt | $(BIN)/cyclonedx-py requirements --pyproject pyproject.toml \
		--mc-type application --output-reproducible -o sbom.json -

audit: .venv/dev-installed
	@$(PIP) "pip-audit==2.10.1"
	@$(BIN)/python -m pip_audit --strict --disable-pip --require-hashes -r locks/run.txt -r locks/torch.txt

check-catalogue: .venv/run-installed
	@$(BIN)/python -m app.cli models check

docs: .venv/dev-installed
	@$(BIN)/python -m tools.configuration_docs
	@$(BIN)/python -m tools.api_reference
	@$(BIN)/python -m tools.gpu_docs
	@$(BIN)/python -m tools.memory_table
	@$(BIN)/python -m tools.pipeline_calls

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis

# The browser tests drive the system's Chromium; without one they are skipped, loudly. So are the tests with proxies,
# Prometheus, Node's packages and the generator of Python clients.
INSTALLERS := $(addprefix tools/install_,chromium.sh proxies.sh prometheus.sh client_tools.sh)

.venv/browser: $(INSTALLERS) tests/node/package-lock.json locks/client-generator.txt | .venv/dev-installed
	@$(foreach installer,$(INSTALLERS),$(installer);)
	@touch $@

# Its time changes only when another GPU or driver is found: then the right build of torch is installed.
.venv/machine: FORCE
	@$(PYTHON) tools/install.py --detect

FORCE:

.venv/run-installed: requirements.txt requirements-no-deps.txt requirements-cuda12.txt $(wildcard locks/*.txt) tools/install.py app/core/torch_builds.py .venv/machine
	@$(PYTHON) tools/install.py run
	@touch $@

.venv/dev-installed: requirements.txt requirements-no-deps.txt requirements-cuda12.txt requirements-dev.txt $(wildcard locks/*.txt) tools/install.py app/core/torch_builds.py .venv/machine
	@$(PYTHON) tools/install.py dev
	@touch $@ .venv/run-installed
