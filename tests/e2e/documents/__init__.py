"""The documents as they are written: each file and command of a page, run in the test bed."""
