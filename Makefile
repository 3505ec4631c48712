# The one entry point: people type these, CI calls them.

SHELL := /bin/bash
.DEFAULT_GOAL := help
CARGO_DENY := 0.20.2
CARGO_FUZZ := 0.13.2

.PHONY: help dev setup build lint fmt clippy deny docs unit test test-long fuzz demo

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

dev: ## Run everything on this machine and print a line to paste for each way in
	cargo run --release -p edge-tunnel-server -- dev

setup: ## Install what the tests need and this machine lacks (SETUP=no: only say what that is)
	tests/setup.sh

build: ## Build the release binaries into target/release
	cargo build --release --locked

lint: fmt clippy deny docs ## Everything that is checked without running it

fmt:
	cargo fmt --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check

clippy:
	cargo clippy --workspace --all-targets --locked -- -D warnings

deny:
	@cargo deny --version 2>/dev/null | grep -qF ' $(CARGO_DENY)' || cargo install --locked cargo-deny@$(CARGO_DENY)
	cargo deny check bans licenses sources

docs:
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --workspace --no-deps --document-private-items --locked

unit: ## The tests that need neither root nor a cluster
	cargo test --workspace --locked

test: setup ## Every test: unit, conformance, scenarios, network namespaces, a real cluster
	tests/run.sh

test-long: setup ## What takes an hour and a half: faults for half an hour, quiet connections, thousands of agents
	tests/long.sh

fuzz: ## Fuzz every decoder, FUZZ_SECONDS (20) each; needs a nightly Rust (DECODER=NAME: only that one)
	@cargo fuzz --version 2>/dev/null | grep -qF ' $(CARGO_FUZZ)' || cargo install --locked cargo-fuzz@$(CARGO_FUZZ)
	fuzz/run.sh $(DECODER)

demo: setup build ## A real kubelet that nobody can dial, and kubectl reaching it (KEEP=1 leaves it up)
	tests/cluster/demo.sh
