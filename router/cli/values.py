"""The values of arguments that are no plain text; each function raises ArgumentTypeError."""

from __future__ import annotations

import argparse
from pathlib import Path

LAST_PORT = 65535
SHORTEST_INTERVAL, LONGEST_INTERVAL = 0.2, 3600.0
"""Seconds."""


def file_name(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("name a file")
    return text


def path(text: str) -> Path:
    return Path(file_name(text))


def port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= LAST_PORT):
        raise argparse.ArgumentTypeError(f"a port is a number from 1 to {LAST_PORT}")
    return int(text)


def rule(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError("a rule is a number, as `status` shows it; 0: the default")
    return int(text[:9])


def interval(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not SHORTEST_INTERVAL <= seconds <= LONGEST_INTERVAL:
        raise argparse.ArgumentTypeError("give a number of seconds from 0.2 to 3600")
    return seconds


def amount(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text[:9]) > 0):
        raise argparse.ArgumentTypeError("it is a number, from 1 on")
    return int(text[:9])
