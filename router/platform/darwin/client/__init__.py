"""The router's side of macOS: what it requests from the guard, and what needs no privileges.

The guard's side of each request is in `operations`.
"""
