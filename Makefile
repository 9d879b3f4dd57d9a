# The commands of the project. `make` alone shows them.

CARGO ?= cargo

.DEFAULT_GOAL := help
.PHONY: help run demo test simulation lint count bench bench-instructions bench-outage acceptance

help: ## show this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

run: ## build and serve on 127.0.0.1:8080; without credentials the simulator inside answers
	@tools/require.sh cargo cc
	@$(CARGO) run --profile quick --locked --bin breakwater -- serve

demo: ## gateway, simulator and clients on 127.0.0.1, and a one-time link to the operator's page
	@tools/require.sh cargo cc
	@$(CARGO) run --profile quick --locked --bin breakwater -- demo

test: ## run every test; installs Debian's redis-server, postgresql, prometheus and chromium-driver when they are missing
	@tools/require.sh cargo cc redis-server postgres
	@tools/require.sh prometheus || echo "make test: without prometheus the alerts and dashboards are not tested" >&2
	@tools/require.sh chromedriver || echo "make test: without chromium the operator's page is not tested" >&2
	@$(CARGO) test --locked

simulation: ## print a day of the upstream in virtual time: Breakwater beside two naive clients
	@tools/require.sh cargo cc
	@$(CARGO) test --locked --test simulation -- --nocapture --test-threads=1

lint: ## check format, lints and documentation; all must be without a warning
	@tools/require.sh cargo cc rustfmt clippy
	@$(CARGO) fmt --check
	@$(CARGO) clippy --locked --all-targets -- -D warnings
	@$(CARGO) clippy --locked --test acceptance -- -D warnings
	@RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps

count: ## count the house: code, mechanisms, settings, import circles
	@tools/require.sh cargo cc
	@$(CARGO) run --quiet --locked --example count

acceptance: ## run the promises under load against the release binary; CATALOG=FILE for real products, BAD_INPUT=FOLDER for more bad input
	@tools/require.sh cargo cc redis-server postgres varnish
	@$(CARGO) test --release --locked --test acceptance -- --nocapture --test-threads=1
	@ROWS=1000000 $(CARGO) test --release --locked --test resilience -- database_plans

bench: ## compare the hit path to a bare handler, nginx and Varnish, and the hit ratio to LRU's
	@tools/require.sh cargo cc curl wrk nginx varnish
	@bench/run.sh
	@$(CARGO) run --quiet --release --locked --example hit_ratio

bench-instructions: ## count the instructions of a hit and the files it passes, beside a bare handler
	@tools/require.sh cargo cc curl valgrind
	@bench/instructions.sh

bench-outage: ## compare what an outage costs to nginx and Varnish tuned to serve stale (15 minutes)
	@tools/require.sh cargo cc curl nginx varnish
	@bench/outage.sh
