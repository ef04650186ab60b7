"""Packets as bytes: checked views for reading, functions for building.

Pure: bytes in, bytes out. Nothing here knows rules, flows, sockets or time.
"""
