# One entry for every task. `make demo` and `make test` do all the set-up a fresh Debian 12 machine needs.
.PHONY: help demo test test-long docker-api kubernetes-api lint fmt deny bench build release setup setup-tests clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 12

setup: ## install the apt packages that building and the demo need
	@scripts/setup

setup-tests: ## install those of tests and benches too
	@scripts/setup tests

build: setup-tests ## build for development and tests
	cargo build --workspace --all-targets

release: setup ## build target/release/hako
	HAKO_COMMIT=$$(git rev-parse --short HEAD) HAKO_BUILD_TIME=$$(git log -1 --format=%cI) cargo build --release --bin hako

demo: release examples/hello/bin/hello ## from a Dockerfile to a self-healing service, shown step by step
	target/release/hako demo --example examples/hello

examples/hello/bin/hello: examples/hello/hello.rs
	mkdir -p $(@D)
	rustc --edition 2024 -O -C target-feature=+crt-static -C strip=symbols -o $@ $<

test: setup-tests examples/hello/bin/hello ## every test: unit, contract, end to end (as root)
	scripts/test

test-long: setup-tests examples/hello/bin/hello ## the tests that take more than a few minutes (as root)
	scripts/test-long

docker-api: ## write docs/docker-api.md from what the last `make test` saw
	scripts/docker-api

kubernetes-api: ## write docs/kubernetes-api.md from what the last `make test` saw
	scripts/kubernetes-api

fmt: ## check the format
	cargo fmt --all --check

lint: ## clippy with the workspace's lints
	cargo clippy --workspace --all-targets -- -D warnings

deny: ## licences, duplicates and sources of the dependencies
	scripts/deny

bench: setup-tests release examples/hello/bin/hello ## side by side with the peers that are installed
	scripts/bench

clean: ## remove everything that was built
	cargo clean
	rm -rf examples/hello/bin
