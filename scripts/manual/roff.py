"""Text of manual pages in the macros of man(7).

Always true: what is given as text can hold no request and no escape of roff.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

FENCE: Final = "```"
INLINE: Final = re.compile(
    r"`(?P<code>[^`]+)`|\*\*(?P<strong>[^*]+)\*\*|\*(?P<emphasis>[^*]+)\*"
    r"|\[(?P<linked>[^\]]+)\]\([^)]*\)"
)


def escaped(text: str) -> str:
    """Text that shows as it is written, its hyphens as those of a command line."""
    shown = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"(?m)^(?=[.'])", r"\\&", shown)


def bold(text: str) -> str:
    return f"\\fB{escaped(text)}\\fR"


def italic(text: str) -> str:
    return f"\\fI{escaped(text)}\\fR"


def title(name: str, section: int, date: str, version: str, manual: str) -> str:
    """The first line of a page. date: ISO 8601."""
    words = (name.upper(), str(section), date, f"tunrouter {version}", manual)
    # Lines are not justified: those of commands would have gaps.
    return ".TH " + " ".join(f'"{word}"' for word in words) + "\n.ad l\n"


def heading(text: str) -> str:
    return f".SH {escaped(text.upper())}\n"


def subheading(text: str) -> str:
    return f'.SS "{escaped(text)}"\n'


def paragraphs(lines: Iterable[str]) -> str:
    """Each of them, already in roff, as a paragraph, what stands before them being a heading."""
    return ".PP\n".join(f"{each}\n" for each in lines)


def item(tag: str, text: str) -> str:
    """An entry of a list of terms; both already in roff."""
    return f".TP\n{tag}\n{text}\n"


def example(text: str) -> str:
    """Lines that are shown as they are."""
    return f".EX\n{escaped(text)}\n.EE\n"


def from_markdown(text: str) -> str:
    """Paragraphs and fenced examples, without headings, lists and tables; links as their words."""
    made = []
    for number, part in enumerate(text.split(FENCE)):
        if number % 2:
            made.append(example(part.partition("\n")[2].rstrip("\n")))
        else:
            blocks = (block.strip() for block in part.split("\n\n"))
            made += [f"{inline(block)}\n" for block in blocks if block]
    return ".PP\n".join(made)


def inline(text: str) -> str:
    """A piece of Markdown without its own lines: code and strong words bold, emphasis italic."""
    made, end = [], 0
    for match in INLINE.finditer(text):
        made.append(escaped(text[end : match.start()]))
        made.append(_marked(match))
        end = match.end()
    made.append(escaped(text[end:]))
    return re.sub(r"(?m)^(?=[.'])", r"\\&", "".join(made))


def _marked(match: re.Match[str]) -> str:
    if match["emphasis"]:
        return italic(match["emphasis"])
    if match["linked"]:
        return escaped(match["linked"])
    return bold(match["code"] or match["strong"])
