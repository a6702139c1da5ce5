# make test    everything that a change must pass (lint, types, tests, doctests)
# make lint    style and types alone
# make demo    phantom -> SEG -> scene -> previews -> SEG, into demo-output/
# make bench   against peers, side by side

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
NODE := Testing/Headless/node
PEERS := $(NODE)/node_modules/.installed

.DEFAULT_GOAL := test
.PHONY: test lint demo bench system clean

test: lint system $(PEERS)
	@$(BIN)/python -m pytest --numprocesses=auto --dist=loadfile

lint: $(INSTALLED)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

demo: $(INSTALLED)
	@$(BIN)/dicombridge demo --output demo-output

bench: $(INSTALLED) system
	@$(BIN)/python Testing/Benchmarks/run.py

$(INSTALLED): pyproject.toml Testing/Headless/peers.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[test]"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement Testing/Headless/peers.txt
	@touch $@

# dcmjs, which reads what we write. Without it its tests fail, unless DICOMBRIDGE_WITHOUT_NODE=1 is set: no silent gap.
$(PEERS): $(NODE)/package.json $(NODE)/package-lock.json | system
	@if command -v npm >/dev/null; then \
	  (cd $(NODE) && npm ci --loglevel=error --no-audit --no-fund) && touch $@; \
	else echo "npm is not installed: tests against dcmjs will fail (DICOMBRIDGE_WITHOUT_NODE=1 leaves them out)."; fi

# Tools that pip cannot bring. Installed where we may (root on Debian), named where we may not. RUNLEVEL=1 keeps Debian
# from starting the servers among them: tests start their own.
system:
	@missing=""; \
	command -v cmake >/dev/null || missing="$$missing cmake"; \
	command -v c++ >/dev/null || missing="$$missing g++"; \
	command -v npm >/dev/null || missing="$$missing nodejs npm"; \
	command -v curl >/dev/null || missing="$$missing curl"; \
	command -v nginx >/dev/null || test -x /usr/sbin/nginx || missing="$$missing nginx-light"; \
	test -x /usr/sbin/Orthanc -a -e /usr/share/orthanc/plugins/libOrthancDicomWeb.so || \
	  missing="$$missing orthanc orthanc-dicomweb"; \
	for library in libEGL.so.1:libegl1 libGL.so.1:libgl1 libxkbcommon.so.0:libxkbcommon0 libdbus-1.so.3:libdbus-1-3 \
	  libfontconfig.so.1:libfontconfig1 libglib-2.0.so.0:libglib2.0-0; do \
	  ldconfig -p | grep -q "$${library%%:*}" || missing="$$missing $${library##*:}"; done; \
	test -d /usr/share/fonts/truetype/dejavu || missing="$$missing fonts-dejavu-core"; \
	test -n "$$missing" || exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	else echo "Please install:$$missing. Tests that need them fail."; fi

clean:
	rm -rf .venv build dist demo-output bench-output $(NODE)/node_modules
