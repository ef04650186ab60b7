"""End-to-end tests: real programs in network namespaces. Run them by `make e2e` (needs root)."""
