"""The arguments of every command, and which function carries it out."""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from router import __version__
from router.cli import exits
from router.cli.arguments import Parser

PROTOCOLS = ("icmp", "tcp", "udp")
LOG_LEVELS = ("error", "warning", "info", "debug")
LOG_FORMATS = ("text", "json")
COMPLETIONS = ("bash", "zsh", "fish", "policies", "rules", "tuns")
FLOW_ORDERS = ("bytes", "age", "idle")
LAST_PORT = 65535
SHORTEST_INTERVAL, LONGEST_INTERVAL = 0.2, 3600.0
"""Seconds."""

UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)
"""What write() fails with where standard output is no pipe."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    _open_closed_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # File names need not be text, and a terminal need not have every character.
        sys.stdout.reconfigure(errors="replace")
    try:
        return _run_command(arguments)
    except KeyboardInterrupt:
        return exits.OK
    except BrokenPipeError:  # the reader of our output (head, less) has closed it
        _discard_output()
        return exits.OK
    except MemoryError:
        print("tunrouter: there is not enough memory: see ulimit -v, MemoryMax", file=sys.stderr)
        return exits.FAILED
    except OSError as error:
        if error.errno not in UNWRITABLE or error.filename is not None:
            raise
        _discard_output()
        with contextlib.suppress(OSError):  # standard error may be on the same full disk
            print(f"standard output can't be written: {error.strerror}", file=sys.stderr)
        return exits.FAILED


def _open_closed_streams() -> None:
    """Python has None for a descriptor that is closed at the start."""
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115


def _run_command(arguments: Sequence[str] | None) -> int:
    """Flushes standard output whatever happens, --help included, so that its errors are raised."""
    try:
        options = _parser().parse_args(arguments)
        status: int = options.command(options)
    finally:
        sys.stdout.flush()
    return status


def _discard_output() -> None:
    """Let Python's own flush at the end succeed."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> Parser:
    parser = Parser(prog="tunrouter", description="Routes traffic by the rules of one YAML file.")
    parser.add_argument("--version", action="version", version=f"tunrouter {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_run(commands)
    _add_check(commands)
    _add_explain(commands)
    cleanup = commands.add_parser(
        "cleanup", help="undo what a run has left that was killed as a whole"
    )
    cleanup.set_defaults(command=_cleanup)
    _add_status(commands)
    _add_flows(commands)
    _add_web(commands)
    _add_top(commands)
    _add_trace(commands)
    service = commands.add_parser(
        "service", help="print a service for systemd or launchd, with how to install it"
    )
    service.add_argument(
        "kind", choices=("systemd", "launchd"), metavar="KIND", help="systemd or launchd"
    )
    _add_rules_file(service)
    service.set_defaults(command=_service)
    _add_reload(commands)
    _add_lists(commands)
    selftest = commands.add_parser(
        "selftest", help="show what this machine has and lacks for a run, with remedies"
    )
    selftest.add_argument(
        "-c", "--config", type=_path, metavar="FILE", help="check its policies and rules too"
    )
    selftest.add_argument("--json", action="store_true")
    selftest.set_defaults(command=_selftest)
    _add_completion(commands)
    schema = commands.add_parser("schema", help="print the JSON Schema of rules files, for editors")
    schema.set_defaults(command=_schema)
    return parser


_Commands = argparse._SubParsersAction


def _add_run(commands: _Commands[Parser]) -> None:
    run = commands.add_parser("run", help="route by the rules until interrupted (needs root)")
    _add_rules_file(run)
    run.add_argument(
        "--watch",
        action="store_true",
        help="apply rules and lists, as by reload, when saved",
    )
    run.add_argument(
        "--log-level",
        choices=LOG_LEVELS,
        default="info",
        help="the least that is logged (default: info)",
    )
    run.add_argument("--log-format", choices=LOG_FORMATS, default="text")
    run.set_defaults(command=_run)


def _add_check(commands: _Commands[Parser]) -> None:
    check = commands.add_parser(
        "check", help="show all problems with the rules, then what run would install"
    )
    _add_rules_file(check)
    check.add_argument("--format", choices=("text", "json", "github"), default="text")
    check.add_argument("--strict", action="store_true", help="fail for warnings as well")
    check.set_defaults(command=_check)


def _add_explain(commands: _Commands[Parser]) -> None:
    explain = commands.add_parser(
        "explain", help="show which rule decides about an address, and what would happen"
    )
    explain.add_argument("destination", metavar="DEST", nargs="?", help="an address or a host name")
    _add_rules_file(explain)
    explain.add_argument("--protocol", choices=PROTOCOLS)
    explain.add_argument("--port", type=_port, metavar="N", help="the destination port")
    explain.add_argument(
        "--pcap", type=_path, metavar="FILE", help="each conversation in a file of packets instead"
    )
    explain.add_argument("--json", action="store_true")
    explain.set_defaults(command=partial(_explain, explain))


def _add_status(commands: _Commands[Parser]) -> None:
    status = commands.add_parser(
        "status", help="show what the running router does: policies, rules, drops (needs root)"
    )
    status.add_argument("--json", action="store_true")
    _add_tun(status)
    status.set_defaults(command=_status)


def _add_flows(commands: _Commands[Parser]) -> None:
    flows = commands.add_parser(
        "flows", help="show the live flows of the running router (needs root)"
    )
    flows.add_argument("--policy", metavar="NAME", help="those of a policy alone")
    flows.add_argument(
        "--rule", type=_rule, metavar="N", help="those of a rule alone; 0: of the default"
    )
    flows.add_argument("--protocol", choices=PROTOCOLS, help="those of a protocol alone")
    flows.add_argument(
        "--sort", choices=FLOW_ORDERS, default="bytes", help="largest first (default: bytes)"
    )
    flows.add_argument("--json", action="store_true")
    _add_tun(flows)
    flows.set_defaults(command=_flows)


def _add_web(commands: _Commands[Parser]) -> None:
    web = commands.add_parser(
        "web", help="serve a page, JSON and metrics about the running router (needs root)"
    )
    web.add_argument("--listen", metavar="ADDRESS", help="address and port (127.0.0.1:9469)")
    web.add_argument(
        "--token-file",
        type=_path,
        metavar="FILE",
        help="the token that clients have to send; needed where other machines can reach ADDRESS",
    )
    _add_tun(web)
    web.set_defaults(command=_web)


def _add_top(commands: _Commands[Parser]) -> None:
    top = commands.add_parser("top", help="show live what the running router carries (needs root)")
    top.add_argument(
        "--interval",
        type=_interval,
        default=1.0,
        metavar="SECONDS",
        help="between two readings, from 0.2 to 3600 (default: 1)",
    )
    _add_tun(top)
    top.set_defaults(command=_top)


def _add_trace(commands: _Commands[Parser]) -> None:
    trace = commands.add_parser(
        "trace", help="show packets of the running router with the decision about each (needs root)"
    )
    trace.add_argument(
        "filter",
        nargs="*",
        metavar="FILTER",
        help="host A, net CIDR, port N, icmp, tcp, udp, policy NAME, rule N, dropped; and, or, not",
    )
    trace.add_argument("--count", type=_amount, metavar="N", help="end after so many packets")
    trace.add_argument("--seconds", type=_amount, metavar="S", help="end after so many seconds")
    trace.add_argument("--pcap", type=_path, metavar="FILE", help="write them to a pcapng file too")
    trace.add_argument("--json", action="store_true", help="one object a line")
    _add_tun(trace)
    trace.set_defaults(command=_trace)


def _add_reload(commands: _Commands[Parser]) -> None:
    reload = commands.add_parser(
        "reload", help="have the running router read its rules again (needs root)"
    )
    reload.add_argument("--json", action="store_true")
    _add_tun(reload)
    reload.set_defaults(command=_reload)


def _add_lists(commands: _Commands[Parser]) -> None:
    lists = commands.add_parser(
        "lists",
        help="join, subtract and compare list files",
        description="List files as sets of addresses: networks and ranges, one a line, gzip too; "
        "'-' is the standard input. What is printed is the fewest networks, IPv4 first.",
    )
    operations = lists.add_subparsers(required=True, metavar="OPERATION", dest="operation")
    merge = operations.add_parser("merge", help="print what is in any of the files")
    merge.add_argument("files", metavar="FILE", nargs="+", type=_file_name)
    minus = operations.add_parser("minus", help="print what is in the first and in no other file")
    minus.add_argument("first", metavar="FILE", type=_file_name)
    minus.add_argument(
        "files", metavar="FILE", nargs="+", type=_file_name, help="what to take away"
    )
    diff = operations.add_parser(
        "diff", help="print what is in OLD alone, with '- ' before it, and in NEW alone, with '+ '"
    )
    diff.add_argument("first", metavar="OLD", type=_file_name)
    diff.add_argument("files", metavar="NEW", nargs=1, type=_file_name)
    lists.set_defaults(command=_lists, first=None)


def _add_completion(commands: _Commands[Parser]) -> None:
    completion = commands.add_parser(
        "completion",
        help="print the completion of this command line for bash, zsh or fish",
        description="For a shell its script; for policies, rules and tuns those of the running "
        "router, a line each, which the scripts ask for (needs root).",
    )
    completion.add_argument(
        "what", choices=COMPLETIONS, metavar="WHAT", help=", ".join(COMPLETIONS)
    )
    completion.set_defaults(command=_completion)


def _add_tun(parser: Parser) -> None:
    parser.add_argument(
        "--tun", metavar="NAME", help="the TUN device of the router, where more than one is running"
    )


def _add_rules_file(parser: Parser) -> None:
    parser.add_argument(
        "-c",
        "--config",
        type=_path,
        metavar="FILE",
        help="the rules (default: ./rules.yaml, then /etc/tunrouter/rules.yaml)",
    )


def _file_name(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("name a file")
    return text


def _path(text: str) -> Path:
    return Path(_file_name(text))


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= LAST_PORT):
        raise argparse.ArgumentTypeError(f"a port is a number from 1 to {LAST_PORT}")
    return int(text)


def _rule(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError("a rule is a number, as `status` shows it; 0: the default")
    return int(text[:9])


def _interval(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not SHORTEST_INTERVAL <= seconds <= LONGEST_INTERVAL:
        raise argparse.ArgumentTypeError("give a number of seconds from 0.2 to 3600")
    return seconds


def _amount(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text[:9]) > 0):
        raise argparse.ArgumentTypeError("it is a number, from 1 on")
    return int(text[:9])


def _run(options: argparse.Namespace) -> int:
    from router.cli.signals import in_order  # noqa: PLC0415 - as fast a start as possible: below too

    with in_order():
        from router.cli.run import run  # noqa: PLC0415

        return run(options.config, options.log_level, options.log_format, watches=options.watch)


def _check(options: argparse.Namespace) -> int:
    from router.cli.check import check  # noqa: PLC0415

    return check(options.config, options.format, strict=options.strict)


def _explain(parser: Parser, options: argparse.Namespace) -> int:
    if options.pcap is not None:
        return _explain_pcap(options)
    if options.destination is None:
        parser.refuse_missing("DEST")
    from router.cli.explain import explain  # noqa: PLC0415

    return explain(
        options.config, options.destination, options.protocol, options.port, as_json=options.json
    )


def _explain_pcap(options: argparse.Namespace) -> int:
    from router.cli.explain_pcap import explain_pcap  # noqa: PLC0415

    if any(each is not None for each in (options.destination, options.protocol, options.port)):
        return _misused("explain: --pcap stands alone: leave out DEST, --protocol and --port")
    return explain_pcap(options.config, options.pcap, as_json=options.json)


def _misused(why: str) -> int:
    print(f"tunrouter {why}", file=sys.stderr)
    return exits.BAD_RULES


def _cleanup(_options: argparse.Namespace) -> int:
    from router.cli.cleanup import cleanup  # noqa: PLC0415

    return cleanup()


def _status(options: argparse.Namespace) -> int:
    from router.cli.status import status  # noqa: PLC0415

    return status(options.tun, as_json=options.json)


def _flows(options: argparse.Namespace) -> int:
    from router.cli.flows import flows  # noqa: PLC0415

    wanted = {"policy": options.policy, "rule": options.rule, "protocol": options.protocol}
    return flows(options.tun, wanted, options.sort, as_json=options.json)


def _web(options: argparse.Namespace) -> int:
    from router.cli.web import web  # noqa: PLC0415

    return web(options.tun, options.listen, options.token_file)


def _top(options: argparse.Namespace) -> int:
    from router.cli.top.command import top  # noqa: PLC0415

    return top(options.tun, options.interval)


def _trace(options: argparse.Namespace) -> int:
    from router.cli.trace import trace  # noqa: PLC0415

    return trace(
        *(options.tun, options.filter, options.count, options.seconds, options.pcap),
        as_json_lines=options.json,
    )


def _service(options: argparse.Namespace) -> int:
    from router.cli.service import service  # noqa: PLC0415

    return service(options.kind, options.config)


def _reload(options: argparse.Namespace) -> int:
    from router.cli.reload import reload  # noqa: PLC0415

    return reload(options.tun, as_json=options.json)


def _lists(options: argparse.Namespace) -> int:
    from router.cli.lists import lists  # noqa: PLC0415

    first = [] if options.first is None else [options.first]
    return lists(options.operation, [*first, *options.files])


def _selftest(options: argparse.Namespace) -> int:
    from router.cli.selftest import selftest  # noqa: PLC0415

    return selftest(options.config, as_json=options.json)


def _completion(options: argparse.Namespace) -> int:
    from router.cli.completion.command import completion  # noqa: PLC0415

    return completion(options.what, _parser())


def _schema(_options: argparse.Namespace) -> int:
    from router.config.schema import schema_text  # noqa: PLC0415

    print(schema_text(), end="")
    return exits.OK
