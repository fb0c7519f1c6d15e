# The habits of this house. `make` alone lists them; each one sets up first.
#
# Everything happens inside this folder: .venv (the environment), .cache
# (compiled kernels), build (descriptor set, wheel), var (data of runs).

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
export NUMBA_CACHE_DIR := $(CURDIR)/.cache/numba
export PYTHON
# A server starts a second sooner where its sources are compiled once.
unexport PYTHONDONTWRITEBYTECODE

# What the checks that take folders read; those not written yet are left out.
SOURCES := $(wildcard engine server clients loadtests benchmarks tests examples proto deploy/grafana setup.py)

.PHONY: help
help: ## List the targets
	@echo 'make TARGET    (every target sets up what it needs first)'
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' \
	  | while IFS=$$'\t' read -r name text; do printf '  %-16s %s\n' "$$name" "$$text"; done

.PHONY: setup
setup: ## Build .venv from the lock, the stubs, the kernels (nothing to do: under a second)
	@.ci/setup

.PHONY: run
run: setup ## Start a server on loopback, data in var/run; more flags in RUN_ARGS
	@mkdir -p var
	$(BIN)/holdfast serve --data var/run $(RUN_ARGS)

.PHONY: demo
demo: setup ## Real retail data through a real server, killed in the middle; JOURNAL=redis, DEMO_ARGS
	$(BIN)/holdfast demo $(if $(JOURNAL),--journal $(JOURNAL)) $(DEMO_ARGS)

.PHONY: test
test: setup ## The everyday tests (six to twelve minutes on two cores); WORKERS (default 2), PYTEST_ARGS
	$(BIN)/pytest --numprocesses $(or $(WORKERS),2) --dist worksteal $(PYTEST_ARGS)

.PHONY: lint
lint: lint-style type lint-imports lint-proto lint-deploy ## Every check that only reads

.PHONY: lint-style
lint-style: setup ## ruff: rules and format
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)

.PHONY: type
type: setup ## mypy, strict
	$(BIN)/mypy

.PHONY: lint-imports
lint-imports: setup ## The engine is pure, and calls flow one way
	$(BIN)/lint-imports --no-logo

.PHONY: lint-proto
lint-proto: setup ## buf: style, format, and nothing broken since the last release
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code
	$(BIN)/buf breaking --against proto/descriptor.binpb

.PHONY: lint-deploy
lint-deploy: setup ## Dockerfile and compose file
	$(BIN)/hadolint Dockerfile
	$(BIN)/yamllint --strict .
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec deploy/compose.yaml
	promtool=$$(.ci/promtool) && $$promtool check rules deploy/prometheus/recording.yml deploy/prometheus/alerts.yml

.PHONY: fix
fix: setup ## Let ruff and buf rewrite what they can
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/buf format --write

.PHONY: proto
proto: setup ## Write the stubs and build/descriptor.binpb from proto/
	$(BIN)/python proto/generate.py --force

.PHONY: proto-baseline
proto-baseline: setup ## At a release: what is in proto/ now must not be broken from here on
	$(BIN)/buf build --exclude-source-info -o proto/descriptor.binpb

.PHONY: sim
sim: setup ## The simulator over SEEDS seeds (default 1000), from FIRST_SEED
	$(BIN)/python -m tests.simulation --seeds $(or $(SEEDS),1000) $(if $(FIRST_SEED),--first-seed $(FIRST_SEED)) $(SIM_ARGS)

.PHONY: robust-quick
robust-quick: setup ## Every fault once on the real server, SQLite and Redis (under four minutes)
	@$(BIN)/python -m tests.robustness --quick $(ROBUST_ARGS)

.PHONY: robust
robust: setup ## The same as a campaign: RUNS of each fault (default 3), from SEED; ROBUST_ARGS
	@$(BIN)/python -m tests.robustness --runs $(or $(RUNS),3) $(if $(SEED),--seed $(SEED)) $(ROBUST_ARGS)

.PHONY: load
load: setup ## Put a server under load: SCENARIO=flash_sale (LOAD_ARGS=--quick); report in var/load
	@$(BIN)/python -m loadtests $(or $(SCENARIO),--list) $(LOAD_ARGS)

.PHONY: load-all
load-all: setup ## Every scenario, one after another; LOAD_ARGS
	@$(BIN)/python -m loadtests --all $(LOAD_ARGS)

.PHONY: locust
locust: setup ## A storefront's day against TARGET (default 127.0.0.1:7420), web UI on port 8089; LOCUST_ARGS
	$(BIN)/locust -f loadtests/locustfile.py --host $(or $(TARGET),127.0.0.1:7420) --web-host 127.0.0.1 $(LOCUST_ARGS)

.PHONY: bench
bench: setup ## Every benchmark; the last line is one JSON object
	@$(BIN)/python -m benchmarks $(BENCH_ARGS)

.PHONY: bench-peers
bench-peers: setup ## The same orders through what a shop would build instead; into docs/performance.md
	@$(BIN)/python -m benchmarks.peers $(PEERS_ARGS)

.PHONY: bench-routing
bench-routing: setup ## The routing figures alone; the last line is one JSON object
	@$(BIN)/python -m benchmarks routing routing_calls routing_waves routing_wave_calls routing_season $(BENCH_ARGS)

.PHONY: sim-routing
sim-routing: setup ## Seasons of orders by every policy: table and plot of docs/routing.md (SEEDS, default 10)
	$(BIN)/python -m benchmarks.season --seeds $(or $(SEEDS),10) --write

.PHONY: test-routing
test-routing: setup ## Routing against brute force and CP-SAT over SEEDS orders (default 20000)
	ROUTING_SEEDS=$(or $(SEEDS),20000) $(BIN)/pytest tests/unit/engine/routing/test_exact.py --timeout=0 $(PYTEST_ARGS)

.PHONY: warm
warm: setup ## Compile every kernel now
	$(BIN)/python -m server.transport.warmup

.PHONY: wheel
wheel: setup ## Build dist/holdfast-*.whl, stubs included
	$(BIN)/pip wheel -q --no-deps --no-build-isolation -w dist .

.PHONY: lock
lock: setup ## Resolve the newest versions pyproject.toml allows into the lock files
	$(BIN)/python -m uv pip compile -q --upgrade $(LOCK) --all-extras -o requirements.lock pyproject.toml
	$(BIN)/python -m uv pip compile -q $(LOCK) --constraint requirements.lock --extra parquet -o deploy/runtime.lock pyproject.toml
	$(BIN)/python -m uv pip compile -q $(LOCK) --constraint requirements.lock -o deploy/build.lock deploy/build.in

LOCK := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header

.PHONY: clean
clean: ## Remove what builds and runs made (not .venv)
	rm -rf build dist var .cache .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .benchmarks .hypothesis

.PHONY: distclean
distclean: clean ## Remove .venv too
	rm -rf .venv clients/holdfast/v1
