# The same few words here and in CI.
.PHONY: help run stop test bench fix
help: ## Show these words
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10
run: ## Start the service, launch the example repository and print its link
	@scripts/run $(ARGS)
stop: ## End a detached run
	@scripts/stop
test: ## Lint, types and all tests
	@scripts/test $(ARGS)
bench: ## Run the benchmarks, or one of them: make -s bench FIGURE=launch_cold
	@scripts/bench $(FIGURE)
fix: ## Format and mend what the linter can
	@.venv/bin/ruff format . && .venv/bin/ruff check --fix .
