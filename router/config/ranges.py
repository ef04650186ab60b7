"""Ranges of addresses, `a - b` with both ends included, as the fewest networks that they are.

Always true: the ends are addresses in full and of one family, the first not after the last; blanks
around the hyphen don't count. Where two ends are joined otherwise (another dash, `..`, `to`) or
stand in brackets, are incomplete, in the wrong order or of two families, the error says how to
write the range.

Must not know: files, lines or places.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from socket import AF_INET, AF_INET6, inet_pton

from router.config.cidr import BITS, BadCidrError, Cidr, explain_cidr, parse_cidr
from router.config.problems import quoted

EXAMPLE = "192.0.2.10-192.0.2.99"

_MEANT = re.compile(r"(?=.*(?:\d\.\d|:))[0-9A-Fa-f:.*/ \t]*(?<!/)-[0-9A-Fa-f:.*/ \t-]*")
"""Something like addresses on both sides of a dash, and no negative prefix length."""

_DASHES = str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"))
"""From hyphen to horizontal bar, and the minus sign: what text editors make of a plain hyphen."""

_JOINED = re.compile(r"\.\.\.?|[ \t]to[ \t]")
_END = re.compile(r"\d+(?:\.\d+){3}(?:/\d+)?|(?=.*:)[0-9A-Fa-f:.]+(?:/\d+)?|\[[0-9A-Fa-f:.]+\]")
_BRACKETED = re.compile(r"\[([0-9A-Fa-f:.]+)\](?=[ \t]*(?:-|$))")

_IN_FULL = f"write both ends in full, as {EXAMPLE}"


class BadRangeError(BadCidrError):
    """The text is meant as a range and is none. `remedy` says how to write it."""


def parse_networks(text: str) -> tuple[Cidr, ...]:
    """Read one network, or a range: the fewest networks that it is, ascending.

    Raises BadRangeError where a range was meant, else BadCidrError.
    """
    if "-" not in text:
        try:
            return (parse_cidr(text),)
        except BadCidrError as error:
            raise _otherwise_written(text) or error from None
    ends = _ends(text)
    if ends is None:
        raise _otherwise_written(text) or _explain(text)
    version, first, last = ends
    return tuple(Cidr(version, *block) for block in split_range(first, last, BITS[version]))


def split_range(first: int, last: int, width: int) -> Iterator[tuple[int, int]]:
    """The fewest prefixes, as (first, length), that are exactly the range [first, last], ascending.

    At each step the largest block that starts at `first`, is aligned and does not pass `last`.
    `width` is that of the family in bits.
    """
    end = last + 1
    while first < end:
        aligned = (first & -first).bit_length() - 1 if first else width
        fitting = (end - first).bit_length() - 1
        bits = min(aligned, fitting)
        yield first, width - bits
        first += 1 << bits


def _ends(text: str) -> tuple[int, int, int] | None:
    """(version, first, last) of a range; None for everything else."""
    begin, _, end = text.partition("-")
    version, family = (6, AF_INET6) if ":" in begin else (4, AF_INET)
    try:
        first = int.from_bytes(inet_pton(family, begin.rstrip(" \t")))
        last = int.from_bytes(inet_pton(family, end.lstrip(" \t")))
    except (OSError, ValueError):
        return None
    return (version, first, last) if first <= last else None


def _otherwise_written(text: str) -> BadRangeError | None:
    """A range without a plain hyphen, or with brackets."""
    plain = _with_hyphen(text)
    if plain == text or not _MEANT.fullmatch(plain):
        return None
    remedy = f"write {plain}"
    if _ends(plain) is None:
        remedy = _explain(plain).remedy
    fault = "has brackets" if "[" in text else "is not written with a plain hyphen"
    return BadRangeError(f"the range {quoted(text)} {fault}", remedy)


def _with_hyphen(text: str) -> str:
    """The text itself where a plain hyphen joins the ends of a range and there are no brackets."""
    plain = text.translate(_DASHES)
    ends = [end.strip(" \t") for end in _JOINED.split(plain, maxsplit=1)]
    if len(ends) == 2 and all(map(_END.fullmatch, ends)):
        plain = "-".join(ends)
    bare = _BRACKETED.sub(r"\1", plain)
    return text if bare == text else "-".join(end.strip(" \t") for end in bare.split("-"))


def _explain(text: str) -> BadCidrError:
    """Why a text with a dash is no range."""
    if not text.strip("- \t"):
        return BadRangeError(f"{quoted(text)} is a range without ends", _IN_FULL)
    if text != text.strip() or not _MEANT.fullmatch(text):
        return explain_cidr(text)
    begin, end, *more = (part.strip() for part in text.split("-"))
    if more:
        return BadRangeError(
            f"{quoted(text)} has more than two ends", f"write each range by itself, as {EXAMPLE}"
        )
    if not begin or not end:
        return _one_end(text, begin or end, "end" if begin else "beginning")
    if "/" in text:
        return _with_length(text, begin, end)
    return _incomplete(text, begin, end) or _unfit(text, begin, end)


def _one_end(text: str, known: str, lacking: str) -> BadRangeError:
    remedy = _IN_FULL
    if _cidr(known) is not None:
        remedy = f"write both ends, as {EXAMPLE}, or {known} alone"
    return BadRangeError(f"the range {quoted(text)} has no {lacking}", remedy)


def _with_length(text: str, begin: str, end: str) -> BadRangeError:
    """Two networks are meant as a whole, unless host bits say that an address is meant."""
    first, last = _cidr(begin), _cidr(end)
    bare_begin, bare_end = begin.partition("/")[0], end.partition("/")[0]
    if first and last and not first.host_bits and not last.host_bits:
        bits = BITS[last.version]
        highest = last.first | (1 << bits - last.length) - 1
        bare_end = str(Cidr(last.version, highest, bits)).partition("/")[0]
    bare = f"{bare_begin}-{bare_end}"
    remedy = f"write addresses alone, as {bare if _ends(bare) else EXAMPLE}"
    return BadRangeError(f"an end of the range {quoted(text)} has a prefix length", remedy)


def _incomplete(text: str, begin: str, end: str) -> BadRangeError | None:
    """`192.0.2.10-99` and `2001:db8::1-ff`, which other programs take, and globs with ranges."""
    full = None
    if ":" in begin:
        full = f"{begin}-{begin.rpartition(':')[0]}:{end}"
        full = full if _ends(full) else None
    elif re.fullmatch(r"[0-9.*]+", begin + end):
        from router.config.notations import from_glob  # noqa: PLC0415 - imports netaddr

        full = from_glob(f"{begin}-{end}")
    remedy = f"write {full}" if full else _IN_FULL
    if "*" in text:
        return BadRangeError(f"{quoted(text)} has a wildcard", remedy)
    if re.fullmatch(r"[0-9A-Fa-f]{1,4}", end):
        return BadRangeError(f"an end of the range {quoted(text)} is incomplete", remedy)
    return None


def _unfit(text: str, begin: str, end: str) -> BadRangeError:
    """An end that is no address, or two that don't fit each other."""
    for each in (begin, end):
        if _cidr(each) is None:
            return BadRangeError(explain_cidr(each).message, _IN_FULL)
    if (":" in begin) != (":" in end):
        return BadRangeError(
            f"one end of the range {quoted(text)} is IPv4 and the other IPv6",
            "write one range for each family",
        )
    return BadRangeError(
        f"the range {quoted(text)} ends before it begins", f"swap its ends: {end}-{begin}"
    )


def _cidr(text: str) -> Cidr | None:
    try:
        return parse_cidr(text)
    except BadCidrError:
        return None
