"""What `make release-check` tries beside the tests: packages and the image as a machine gets them,
and imported configurations beside their own program."""
