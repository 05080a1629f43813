# The few commands people type. `make` alone lists them.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
READY := .venv/ready
OUT ?= runs/demo
ARGS ?=
WORKERS ?= 2
STUDY ?= data/studies/demo.toml
PAGES ?=

.PHONY: help setup demo study test check docs notebooks export readme lock audit clean

help:  ## list the commands
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## (.*)/  make \1	\2/' | expand -t 18

demo: setup  ## set up if needed, and run the whole method on the synthetic demo world into runs/demo (OUT=, ARGS=)
	$(BIN)/culturespa demo --out $(OUT) $(ARGS)

test: setup  ## run the tests, two files at a time (ARGS="-k name", WORKERS=4)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

study: setup  ## every claim of the paper on the demo world, hours (STUDY=file, OUT=); goes on where it stopped
	$(BIN)/culturespa study $(STUDY) --out $(if $(filter runs/demo,$(OUT)),runs/study,$(OUT)) $(ARGS)

setup: $(READY)  ## make .venv with the locked versions (PYTHON=python3.12); again only when they change

$(READY): pyproject.toml requirements.lock requirements.hashes
	@test -n '$(PYTHON)' || { echo 'setup: no Python 3.11 or later with venv on PATH; name one: make setup PYTHON=/path/to/python3.12' >&2; exit 1; }
	@$(PYTHON) tools/install.py
	@touch $@

check: setup  ## everything that must agree: pages, exports, tests, menus, links, README, outputs
	$(BIN)/python tools/check.py

docs: setup  ## render the pages into _docs, as a site that needs no server
	$(BIN)/python tools/docs.py

notebooks: setup  ## execute the pages in place and clean them (PAGES='nbs/430_answers.ipynb ...')
	$(BIN)/python tools/pages.py $(PAGES)

export: setup  ## write the package and its tests out of the pages
	$(BIN)/python tools/export.py

readme: setup  ## write README.md out of nbs/index.ipynb
	$(BIN)/python tools/readme.py

lock: setup  ## write requirements.lock and requirements.hashes from what .venv holds now
	$(BIN)/python tools/lock.py

audit:  ## look the locked versions up among known faults, with pip-audit (needs the net)
	@$(PYTHON) tools/audit.py

clean:  ## remove what was rendered, built or cached; .venv and runs stay
	rm -rf _docs _proc build dist *.egg-info .pytest_cache .hypothesis .ruff_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
	find nbs -name .ipynb_checkpoints -prune -exec rm -rf {} +
