"""What `make release-check` tries beside the tests: the Debian package, as a machine gets it."""
