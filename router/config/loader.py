"""rules.yaml and its lists, read: a Config, or every problem that keeps it from being one.

Theory of operation: bytes become text in which places can be counted (reading), text becomes nodes
that know their place (document), and nodes become the model section by section (tun, policies,
rules, lists). Each step reports what it finds and goes on, so that one run shows everything; only
text that is no YAML ends it early. Nothing here reads anything from the system but these files.

Always true: `config` is None exactly when a problem is an error.

Must not know: interfaces, routes, or which rule shadows which.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from router.config.bounds import ATTEMPTS
from router.config.document import (
    Document,
    Mapping,
    Scalar,
    SyntaxProblemError,
    parse_document,
)
from router.config.duplicates import check_duplicates
from router.config.fields import (
    Entry,
    Findings,
    TooManyProblems,
    as_text,
    is_nothing,
    kind_of,
    missing_key,
    read_keys,
    wrong_type,
)
from router.config.lists import ListLibrary, Progress
from router.config.model import Config, Place
from router.config.opening import Opener
from router.config.policies import read_policies
from router.config.policy_links import check_interfaces, check_loops, check_used
from router.config.policy_table import PolicyTable
from router.config.problems import Problem, Severity, has_errors, quoted
from router.config.reading import (
    RulesFileChanged,
    RulesFileUnreadable,
    decode,
    out_of_memory,
    read_bytes,
)
from router.config.rules import read_rules
from router.config.schema import DEFAULT_POLICY, DEFAULT_USER, TOP_KEYS, USER_NAME, VERSION
from router.config.sources import Sources
from router.config.trust import Reader
from router.config.tun import read_tun
from router.config.web import read_web

__all__ = ["Loaded", "Progress", "RulesFileUnreadable", "collector_paused", "load"]


@dataclass(slots=True)
class Loaded:
    """What came of a rules file. `config` is None when a problem is an error.

    `problems` are sorted by place, those of the rules file before those of its lists; `sources`
    holds the lines that they point at.
    """

    config: Config | None = None
    problems: list[Problem] = field(default_factory=list)
    sources: Sources = field(default_factory=Sources)

    @property
    def ok(self) -> bool:
        return self.config is not None


def load(
    path: Path | str,
    progress: Progress | None = None,
    *,
    reader: Reader | None = None,
    pure_python: bool = False,
) -> Loaded:
    """Read a rules file and the lists it names.

    `progress` is called with bytes done and bytes in all while lists are read. `reader`: for whom,
    as some files may not be read by root; None: all may. `pure_python` keeps libyaml out. Raises
    RulesFileUnreadable where the rules file itself can't be read, or there is no memory for it.
    """
    path = Path(path)
    opener = Opener(reader)
    with collector_paused():
        try:
            loaded = _load_unchanged(path, opener, progress, pure_python)
        except MemoryError:
            raise RulesFileUnreadable(out_of_memory()) from None
    file = str(path)
    # Aliases repeat one mistake many times; it is reported once.
    loaded.problems = sorted(
        dict.fromkeys(loaded.problems), key=lambda problem: _order(problem, file)
    )
    return loaded


@contextmanager
def collector_paused() -> Iterator[None]:
    """Pauses the cyclic collector, for code that makes hundreds of thousands of objects without
    cycles: its scans take half of the time of a large file."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def _load_unchanged(
    path: Path, opener: Opener, progress: Progress | None, pure_python: bool
) -> Loaded:
    """Again while files change meanwhile, ATTEMPTS times at most."""
    for _ in range(ATTEMPTS - 1):
        with suppress(RulesFileChanged):
            loaded = _load(path, opener, progress, pure_python)
            if all(problem.code != "file-changed" for problem in loaded.problems):
                return loaded
    return _load(path, opener, progress, pure_python)


def _load(path: Path, opener: Opener, progress: Progress | None, pure_python: bool) -> Loaded:
    loaded = Loaded()
    file = str(path)
    read = read_bytes(path, opener)
    text, loaded.problems = decode(file, read.data)
    loaded.sources.add_text(file, text)
    if loaded.problems:
        return loaded
    try:
        document = parse_document(file, text, pure_python)
    except SyntaxProblemError as error:
        loaded.problems.append(error.problem)
        return loaded
    findings = Findings(document, partial(opener.open, named_by_user=read.by_user))
    library = ListLibrary(findings, path, loaded.sources, opener, named_by_user=read.by_user)
    config = None
    with suppress(TooManyProblems):
        config = _read(findings, document, library, progress)
    loaded.problems = [*read.warnings, *findings.problems]
    loaded.config = None if has_errors(findings.problems) else config
    return loaded


def _read(
    findings: Findings, document: Document, library: ListLibrary, progress: Progress | None
) -> Config | None:
    root = document.root
    if root is None or (isinstance(root, Scalar) and root.empty):
        _report_empty(findings, document)
        return None
    if not isinstance(root, Mapping):
        sample = "'version: 1' and 'rules:' on lines of their own"
        wrong_type(findings, root, "a rules file", "a mapping", sample)
        return None
    keys = read_keys(findings, root, TOP_KEYS, "the rules file")
    _check_version(findings, keys.get("version"), document.file)
    tun = read_tun(findings, keys.get("tun"))
    table = read_policies(findings, keys.get("policies"))
    rules = read_rules(findings, keys.get("rules"), table, library)
    default, default_place = _default(findings, table, keys.get("default"))
    user, user_place = _user(findings, keys.get("user"))
    web = read_web(findings, keys.get("web"))
    library.read_all(progress)
    check_interfaces(findings, table, tun)
    check_loops(findings, table)
    if rules:  # in a file that was only just begun, no policy is unused by mistake
        check_used(findings, table)
    check_duplicates(findings, rules)
    return Config(
        *(document.file, tun, table.policies, rules, default, default_place, user, user_place),
        web,
    )


def _report_empty(findings: Findings, document: Document) -> None:
    findings.error(
        "empty-file",
        Place(document.file, 1, 1),
        "nothing stands in the rules file",
        "begin with 'version: 1'; 'tunrouter schema' describes the rest",
    )


def _check_version(findings: Findings, entry: Entry | None, file: str) -> None:
    if entry is None:
        missing_key(findings, Place(file, 1, 1), "version", "the rules file", f"version: {VERSION}")
        return
    node = entry.value
    if isinstance(node, Scalar) and node.plain and node.text == str(VERSION):
        return
    findings.error(
        "bad-version",
        node,
        f"the version must be the number {VERSION}, not {kind_of(node)}",
        f"write 'version: {VERSION}', without quotes",
    )


def _default(
    findings: Findings, table: PolicyTable, entry: Entry | None
) -> tuple[str, Place | None]:
    if entry is None:
        return DEFAULT_POLICY, None
    name = table.refer(findings, entry.value, "default")
    if name is not None:
        table.use(name)
    return name or DEFAULT_POLICY, findings.place(entry.value)


def _user(findings: Findings, entry: Entry | None) -> tuple[str, Place | None]:
    if entry is None or is_nothing(entry.value):
        return DEFAULT_USER, None
    name = as_text(findings, entry.value, "the user", f"user: {DEFAULT_USER}")
    if name is not None and not USER_NAME.fullmatch(name):
        findings.error(
            "bad-user",
            entry.value,
            f"{quoted(name)} is not the name of a user",
            f"write 'user: {DEFAULT_USER}', or the name of an account of this system",
        )
        name = None
    return name or DEFAULT_USER, findings.place(entry.value)


def _order(problem: Problem, file: str) -> tuple[bool, str, int, int, bool, str]:
    place = problem.place or Place("", 0, 0)
    warning = problem.severity is not Severity.ERROR
    return place.file != file, place.file, place.line, place.column, warning, problem.code
