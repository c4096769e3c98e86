# The two commands to know: make demo, make test.
.PHONY: help demo playground docs screenshots first-success test test-long test-browser test-integration test-conformance test-warehouses test-matrix release test-cluster test-faults lint types format lock benchmark benchmark-sandbox bench-wait bench-limit chaos chaos-waits kill-loads clean

PYTHON ?= $(firstword $(foreach name,python3.13 python3.12 python3.11 python3,$(if $(shell $(name) -c \
	'import sys; print(sys.version_info >= (3, 11) or "")' 2>/dev/null),$(name))))
BIN := .venv/bin

help:
	@echo 'make demo       export, wait and load seven days, from a local Cordial into a table'
	@echo 'make playground a whole Airflow with its UI, a local Cordial, connections, and the example DAGs'
	@echo 'make docs       build the documentation in site/; a warning or a dead link fails it'
	@echo 'make first-success'
	@echo '                the commands of the five-minute start, in a clean environment, and their seconds'
	@echo 'make test       the test suite'
	@echo 'make test-browser'
	@echo '                a browser walks through the playground (root on Debian, to install Chromium)'
	@echo 'make screenshots'
	@echo '                the same, and the pictures of the documentation are taken again'
	@echo 'make test-long  what make test leaves out: more whole Airflows, and the commands of the documentation'
	@echo 'make test-integration'
	@echo '                the destinations again, on servers as in production (root on Debian)'
	@echo 'make test-conformance EXAMPLES=50 SEED=7'
	@echo '                a generated client, generated requests, hostile ones, and a foreign web page, against the'
	@echo '                local Cordial and its contract'
	@echo 'make test-warehouses'
	@echo '                the same contract for every warehouse, and a table of what was run against which'
	@echo 'make test-matrix MATRIX="--one 3.1.8"'
	@echo '                the wheels under every supported Airflow and Python, and a table; or under some'
	@echo 'make test-cluster'
	@echo '                a month of runs and a year of ranges on Celery, Redis and PostgreSQL, with faults'
	@echo 'make test-faults SEED=7'
	@echo '                60 exports through a proxy that breaks requests, and 100 kills of Airflow processes'
	@echo 'make lint types what CI checks as well: format, imports, wording, types'
	@echo 'make benchmark  the figures of the documentation'
	@echo 'make benchmark-sandbox'
	@echo '                the local Cordial with 100,000 jobs: requests per second, slowest answers, start, memory'
	@echo 'make bench-wait WAITS="100 1000 5000"'
	@echo '                many deferred waits in one event loop, beside peers and a limit'
	@echo 'make bench-limit'
	@echo '                1,000 waits on an account that allows 60 requests a minute'
	@echo 'make chaos N=200 SEED=1'
	@echo '                kill 200 tries, retry and clear the tasks, and count the jobs; beside a peer'
	@echo 'make chaos RUN=1-17'
	@echo '                repeat the run that make chaos names when it fails'
	@echo 'make chaos-waits WAITS=200 SEED=1'
	@echo '                200 waits in a real triggerer while requests, keys, databases, and pollers fail'
	@echo 'make kill-loads N=300'
	@echo '                kill 300 loads into databases and files: each target has the old rows or the new ones'
	@echo 'make release    build both distributions in dist, check, and try them'
	@echo 'make lock       pin the development environment again'

demo: .venv/.ready
	@$(BIN)/python scripts/demo.py

playground: .venv/.ready
	@$(BIN)/python scripts/playground.py

docs: .venv-docs/.ready
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict --quiet
	@echo 'The documentation is in site/index.html'

first-success: .venv/.ready
	@$(BIN)/python scripts/first_success.py

test-browser: .venv/.ready .venv-docs/.ready
	scripts/install_browser.sh
	.venv-docs/bin/python -m pytest --confcutdir tests/browser tests/browser

screenshots: .venv/.ready .venv-docs/.ready
	scripts/install_browser.sh
	.venv-docs/bin/python -m pytest --confcutdir tests/browser tests/browser --pictures docs/images

# In three processes, which mostly wait; only one of them runs a whole Airflow (the xdist_group of its tests).
test: .venv/.ready .venv-bqemulator/.ready
	$(BIN)/python -m pytest --numprocesses=3 --dist=loadgroup -m 'not long'

test-long: .venv/.ready
	$(BIN)/python -m pytest --numprocesses=2 --dist=loadgroup -m long tests/integration

test-integration: .venv/.ready .servers/.ready
	$(BIN)/python -m pytest --servers strict tests/integration/test_destinations.py tests/integration/test_reading.py \
		tests/integration/test_files.py tests/integration/test_odd_servers.py

test-conformance: .venv/.ready .venv-conformance/.ready
	$(BIN)/python scripts/conformance.py --examples $(or $(EXAMPLES),50) $(if $(SEED),--seed $(SEED))

test-warehouses: .venv/.ready .venv-bqemulator/.ready
	$(BIN)/python -m pytest --warehouse-table tests/integration/warehouses

test-matrix: .venv/.ready
	$(BIN)/python scripts/matrix.py $(MATRIX)

# Builds both distributions, checks what they contain, and runs them where nothing of this folder is on the path.
release: .venv/.ready
	rm -rf dist
	$(BIN)/uv build --system-certs --quiet --out-dir dist .
	$(BIN)/uv build --system-certs --quiet --out-dir dist cordial_sandbox
	$(BIN)/uv tool run --system-certs 'twine>=6.2' check --strict dist/*.whl dist/*.tar.gz
	$(BIN)/python -m pytest --distributions dist tests/integration/test_distributions.py
	$(BIN)/python scripts/matrix.py --distributions dist --one 3.3.2

test-cluster: .venv/.ready
	$(BIN)/python -m pytest --cluster full tests/integration/test_cluster.py

# Under 15 minutes; without SEED the seed is a new one, which is printed.
test-faults: .venv/.ready
	$(BIN)/python -m pytest --faults full $(if $(SEED),--faults-seed $(SEED)) tests/integration/test_faults.py

lint: .venv/.ready
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/lint-imports
	$(BIN)/python scripts/check_wording.py

types: .venv/.ready
	$(BIN)/mypy

format: .venv/.ready
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

benchmark: .venv/.ready .venv-bqemulator/.ready
	$(BIN)/python benchmarks/dag_parse.py
	$(BIN)/python benchmarks/load.py
	$(BIN)/python benchmarks/coverage.py
	for name in snowflake bigquery redshift databricks; do $(BIN)/python benchmarks/warehouses/$$name.py || exit 1; done

benchmark-sandbox: .venv/.ready
	$(BIN)/python benchmarks/sandbox.py $(ARGS)

bench-wait: .venv/.ready
	$(BIN)/python benchmarks/wait.py $(if $(WAITS),--waits $(WAITS)) $(ARGS)

bench-limit: .venv/.ready
	$(BIN)/python benchmarks/rate_limit.py

chaos: .venv/.ready
	$(BIN)/python benchmarks/chaos.py $(if $(RUN),--run $(RUN),$(or $(N),200) $(SEED))

chaos-waits: .venv/.ready
	$(BIN)/python benchmarks/chaos_waits.py $(or $(WAITS),200) $(or $(SEED),1)

kill-loads: .venv/.ready
	$(BIN)/python benchmarks/kill_loads.py $(N)

lock: .venv/.ready
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --upgrade --quiet \
		--all-extras --group dev --no-emit-package cordial-sandbox \
		--no-header --no-annotate --no-emit-index-url -o requirements-dev.txt
	# The emulator needs older packages than the provider; its extensions of DuckDB must fit DuckDB's version.
	printf '%s\n' bqemulator==1.4.0 duckdb==1.5.5 duckdb-extension-spatial==1.5.5 duckdb-extension-icu==1.5.5 \
		duckdb-extensions numpy | \
		$(BIN)/uv pip compile - --universal --python-version 3.11 --upgrade --quiet \
		--no-header --no-annotate --no-emit-index-url -o requirements-bqemulator.txt
	$(BIN)/python scripts/matrix.py --lock
	$(BIN)/uv pip compile requirements-conformance.in --universal --python-version 3.11 --upgrade --quiet \
		--no-header --no-annotate --no-emit-index-url -o requirements-conformance.txt
	$(BIN)/uv pip compile requirements-docs.in --universal --python-version 3.11 --upgrade --quiet \
		--no-header --no-annotate --no-emit-index-url -o requirements-docs.txt

clean:
	rm -rf .venv .venv-bqemulator .venv-conformance .venv-docs .matrix .servers .demo .browser dist site

.venv/.ready: requirements-dev.txt pyproject.toml cordial_sandbox/pyproject.toml
	@test -n "$(PYTHON)" || { echo 'Python 3.11 or later is needed; give it as make PYTHON=/path/to/python3' >&2; exit 1; }
	@echo 'Making the environment in .venv; this takes a minute or two the first time ...'
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^uv==' requirements-dev.txt)"
	@VIRTUAL_ENV=.venv $(BIN)/uv pip install --system-certs --quiet --compile-bytecode -r requirements-dev.txt
	@VIRTUAL_ENV=.venv $(BIN)/uv pip install --system-certs --quiet --no-deps --editable . --editable cordial_sandbox
	@touch $@

# The emulator of BigQuery: only its server runs there.
.venv-bqemulator/.ready: requirements-bqemulator.txt .venv/.ready
	@$(PYTHON) -m venv .venv-bqemulator
	@VIRTUAL_ENV=.venv-bqemulator $(BIN)/uv pip install --system-certs --quiet --compile-bytecode -r $<
	@touch $@

# The generators of requests and of a client have dependencies of their own.
.venv-conformance/.ready: requirements-conformance.txt .venv/.ready
	@$(PYTHON) -m venv .venv-conformance
	@VIRTUAL_ENV=.venv-conformance $(BIN)/uv pip install --system-certs --quiet --compile-bytecode -r $<
	@touch $@

.venv-docs/.ready: requirements-docs.txt .venv/.ready
	@$(PYTHON) -m venv .venv-docs
	@VIRTUAL_ENV=.venv-docs $(BIN)/uv pip install --system-certs --quiet --compile-bytecode -r $<
	@touch $@

.servers/.ready: scripts/install_servers.sh .venv/.ready
	@scripts/install_servers.sh .servers
