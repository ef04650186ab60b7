"""Measurements: run them by `make bench`, read how in bench/README.md."""
