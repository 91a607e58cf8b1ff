# joulet: verbs over CMake and Ninja. `make help` lists them; CMakePresets.json says how each is built.
PREFIX ?= /usr/local
DESTDIR ?=
T ?=
SANITIZE ?=
SEED ?=
WINDOWS ?=
FUZZ_SECONDS ?= 180
MINUTES ?= 60

preset_ = default
preset_address,undefined = address
preset_address = address
preset_undefined = address
preset_thread = thread
preset = $(or $(preset_$(SANITIZE)),$(error SANITIZE=$(SANITIZE) is not known: use address,undefined or thread))

.PHONY: all help setup demo check check-engines check-fresh lint fuzz bench soak accuracy format install clean
.NOTPARALLEL:

all: ## build the program, its modules and libjoulet into build/default
	@PREFIX='$(PREFIX)' tools/build $(preset)

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1|/p' Makefile | awk -F'|' '{ printf "%-20s %s\n", $$1, $$2 }'
	@echo "  T=NAME: one test or bench   SANITIZE=address,undefined|thread   PREFIX, DESTDIR   FUZZ_SECONDS=$(FUZZ_SECONDS)   MINUTES=$(MINUTES)"

setup: ## install what building needs
	@tools/setup build

demo: ## set up, build, and measure nine prompts on a real engine
	@tools/demo

check: ## set up, build and run all tests; T=rapl runs one, SANITIZE=... runs them under a sanitizer
	@tools/check $(if $(SANITIZE),--preset $(preset)) $(T)

check-engines: ## get real engines (Ollama, vLLM) into the user's cache, and run the tests that talk to them
	@tools/check-engines

check-fresh: ## demo and check on a minimal Debian 12 made for it, as root and as a user (needs root)
	@tools/check-fresh

lint: ## format, static analysis, scripts, the include law, links of documents
	@tools/lint

fuzz: ## every fuzzer for FUZZ_SECONDS, or the one named by T
	@FUZZ_SECONDS=$(FUZZ_SECONDS) tools/fuzz $(T)

bench: ## the benches, one JSON object a line; T=overhead runs one
	@tools/bench $(T)

soak: ## an hour (MINUTES) of `joulet serve` with 2000 open streams: does its memory stay flat? T=crowd: 10 000 connections; T=profile: joulet profile
	@tools/soak '$(or $(T),proxy)' $(MINUTES)

accuracy: ## the accuracy table into docs/accuracy.md, from a seed used once; SEED=N WINDOWS=N another
	@tools/accuracy $(SEED) $(WINDOWS)

format: ## bring the C files into the style of .clang-format
	@tools/lint --format

install: ## put program, modules, library, header, manual pages and completion below DESTDIR PREFIX
	@PREFIX='$(PREFIX)' tools/build default
	@DESTDIR='$(if $(DESTDIR),$(abspath $(DESTDIR)))' cmake --install build/default

clean: ## forget everything built
	@rm -rf build
