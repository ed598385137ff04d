# Every target sets up what it needs: a virtual environment in .venv with the locked packages.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
export DAGSTER_HOME ?= $(CURDIR)

.PHONY: help demo notebook test test-fast test-all drills clients bench lint prod-check format docs site specs ui lock clean

help:  ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 10

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $@

demo: $(READY)  ## Sample archive to gold bars through real Dagster runs, in ./demo
	$(BIN)/crypto-lakehouse demo

# LAKEHOUSE_LAKE_URI opens another lake; LAB adds options of JupyterLab, such as LAB=--no-browser. Containers run as root,
# which JupyterLab refuses without its option. The extension that is disabled asks whether to fetch news, and looks for
# updates.
notebook: $(READY)  ## The notebooks in JupyterLab, on the lake of the demo, which it builds if there is none
	test -n "$(LAKEHOUSE_LAKE_URI)" || test -d demo/lake || $(BIN)/crypto-lakehouse demo
	$(BIN)/jupyter labextension disable --level=sys_prefix "@jupyterlab/apputils-extension:announcements" 2>/dev/null
	LAKEHOUSE_LAKE_URI="$${LAKEHOUSE_LAKE_URI:-$(CURDIR)/demo/lake}" $(BIN)/jupyter lab notebooks/1_first_tour.ipynb \
		--ServerApp.root_dir="$(CURDIR)" $(if $(filter 0,$(shell id -u)),--allow-root) $(LAB)

test-fast: $(READY)  ## The tests that take less than a second or so each
	$(BIN)/python -m pytest -n auto --dist loadfile -m "not slow"

test: $(READY)  ## All tests; those that need an absent program are skipped with the reason
	$(BIN)/python -m pytest -n auto --dist loadfile

drills: $(READY)  ## The tests of first starts and of signals, with many rounds
	LAKEHOUSE_TEST_ROUNDS=8 SIGNALS=16 $(BIN)/python -m pytest crypto_lakehouse_tests/system/test_homes.py crypto_lakehouse_tests/system/test_signals.py

clients: $(READY)  ## freqtrade, nautilus_trader, ccxt and others read our data, in cached environments
	$(BIN)/python -m pytest crypto_lakehouse_tests/clients

test-all: test drills clients  ## All tests, then the drills and the clients

bench: $(READY)  ## All benchmarks against their goals and the kept figures; KEEP=--keep writes benchmarks/RESULTS.md
	$(BIN)/python -m benchmarks $(KEEP)

lint: $(READY)  ## Lint, format, vocabulary and type checks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m crypto_lakehouse_tests.vocabulary
	$(BIN)/mypy

prod-check: $(READY)  ## Parse and lint the files of deployments; names what it skips
	$(BIN)/python -m crypto_lakehouse_tests.prod_check

format: $(READY)  ## Fix what ruff can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY)  ## The generated pages in docs/api: data formats, commands and settings
	$(BIN)/python -m crypto_lakehouse.cli.document

site: $(READY)  ## The documentation as a website, in ./site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --config-file docs/site/mkdocs.yml
	@echo file://$(CURDIR)/site/index.html
	@echo "its search needs a server: $(BIN)/python -m http.server --bind 127.0.0.1 --directory site"

specs: $(READY)  ## The traceability table: requirement, tests, last result
	$(BIN)/python -m crypto_lakehouse_tests.traceability

ui: $(READY)  ## The Dagster UI on http://127.0.0.1:3000
	$(BIN)/dg dev --workspace workspace.yaml --host 127.0.0.1 --port 3000

lock: $(READY)  ## Update requirements.lock to the newest versions
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --all-extras --no-strip-extras --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --quiet --upgrade --output-file requirements.lock
	$(BIN)/uv pip compile pyproject.toml --extra platform --extra celery --extra serve --extra serve --no-strip-extras --python-version 3.11 \
		--python-platform linux --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet \
		--constraint requirements.lock --output-file deploy/requirements.txt
	cd crypto_lakehouse_tests/clients/requirements && for name in libraries exchange freqtrade nautilus_trader; do \
		extra=; oldest=3.11; \
		case $$name in libraries) extra=$(CURDIR)/pyproject.toml;; nautilus_trader) oldest=3.12;; esac; \
		$(CURDIR)/$(BIN)/uv pip compile $$name.in $$extra --universal --python-version $$oldest --no-annotate \
			--no-emit-index-url --no-header --quiet --upgrade --output-file $$name.txt || exit 1; \
	done

clean:  ## Remove the demo and what tools left behind; the lake stays
	rm -rf demo site .pytest_cache .ruff_cache .mypy_cache .hypothesis
