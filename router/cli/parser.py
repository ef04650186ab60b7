"""The arguments of every command, and which function carries it out.

Always true: nothing is imported that a command alone needs, so that each starts as fast as it can.
"""

from __future__ import annotations

import argparse
from functools import partial

from router import __version__
from router.cli import dispatch, values
from router.cli.arguments import Parser

PROTOCOLS = ("icmp", "tcp", "udp")
LOG_LEVELS = ("error", "warning", "info", "debug")
LOG_FORMATS = ("text", "json")
COMPLETIONS = ("bash", "zsh", "fish", "policies", "rules", "tuns")
PROGRAMS = ("clash", "surge", "sing-box")
FLOW_ORDERS = ("bytes", "age", "idle")


def parser() -> Parser:
    """The command line: of each command, its arguments and the function that carries it out."""
    made = Parser(prog="tunrouter", description="Routes traffic by the rules of one YAML file.")
    made.add_argument("--version", action="version", version=f"tunrouter {__version__}")
    commands = made.add_subparsers(required=True, metavar="COMMAND")
    _add_init(commands)
    _add_import(commands)
    _add_run(commands)
    _add_check(commands)
    _add_explain(commands)
    cleanup = commands.add_parser(
        "cleanup", help="undo what a run has left that was killed as a whole"
    )
    cleanup.set_defaults(command=dispatch.cleanup)
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
    service.set_defaults(command=dispatch.service)
    _add_reload(commands)
    _add_lists(commands)
    selftest = commands.add_parser(
        "selftest", help="show what this machine has and lacks for a run, with remedies"
    )
    selftest.add_argument(
        "-c", "--config", type=values.path, metavar="FILE", help="check its policies and rules too"
    )
    selftest.add_argument("--json", action="store_true", help="print JSON")
    selftest.set_defaults(command=dispatch.selftest)
    _add_completion(commands, made)
    schema = commands.add_parser("schema", help="print the JSON Schema of rules files, for editors")
    schema.set_defaults(command=dispatch.schema)
    return made


_Commands = argparse._SubParsersAction


def _add_init(commands: _Commands[Parser]) -> None:
    init = commands.add_parser(
        "init", help="write a first rules.yaml for this machine; overwrites nothing"
    )
    _add_output(init, "rules.yaml", "rules.yaml")
    init.set_defaults(command=dispatch.init)


def _add_import(commands: _Commands[Parser]) -> None:
    imported = commands.add_parser(
        "import",
        help="turn the configuration of Clash, mihomo, Surge or sing-box into rules.yaml",
        description="What could not be taken over, and why, goes to standard error. A file that is "
        "a list of networks alone becomes a list file.",
    )
    imported.add_argument("program", choices=PROGRAMS, metavar="KIND", help=", ".join(PROGRAMS))
    imported.add_argument("file", type=values.path, metavar="FILE", help="its configuration")
    _add_output(imported, "-", "standard output")
    imported.set_defaults(command=dispatch.import_rules)


def _add_output(parser: Parser, default: str, called: str) -> None:
    parser.add_argument(
        "-o",
        "--output",
        type=values.file_name,
        default=default,
        metavar="FILE",
        help=f"the file to write, which must not exist; -: standard output (default: {called})",
    )


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
    run.add_argument(
        "--log-format", choices=LOG_FORMATS, default="text", help="lines of text, or objects"
    )
    run.set_defaults(command=dispatch.run)


def _add_check(commands: _Commands[Parser]) -> None:
    check = commands.add_parser(
        "check", help="show all problems with the rules, then what run would install"
    )
    _add_rules_file(check)
    check.add_argument(
        "--format",
        choices=("text", "json", "github"),
        default="text",
        help="text, an object, or annotations of GitHub",
    )
    check.add_argument("--strict", action="store_true", help="fail for warnings as well")
    check.set_defaults(command=dispatch.check)


def _add_explain(commands: _Commands[Parser]) -> None:
    explain = commands.add_parser(
        "explain", help="show which rule decides about an address, and what would happen"
    )
    explain.add_argument("destination", metavar="DEST", nargs="?", help="an address or a host name")
    _add_rules_file(explain)
    explain.add_argument("--protocol", choices=PROTOCOLS, help="the protocol of the packets")
    explain.add_argument("--port", type=values.port, metavar="N", help="the destination port")
    explain.add_argument(
        "--pcap",
        type=values.path,
        metavar="FILE",
        help="each conversation in a file of packets instead",
    )
    explain.add_argument("--json", action="store_true", help="print JSON")
    explain.set_defaults(command=partial(dispatch.explain, explain))


def _add_status(commands: _Commands[Parser]) -> None:
    status = commands.add_parser(
        "status", help="show what the running router does: policies, rules, drops (needs root)"
    )
    status.add_argument("--json", action="store_true", help="print JSON")
    status.add_argument(
        "--require",
        nargs="+",
        metavar="POLICY",
        help="exit with 1 if one of these policies is down",
    )
    _add_tun(status)
    status.set_defaults(command=dispatch.status)


def _add_flows(commands: _Commands[Parser]) -> None:
    flows = commands.add_parser(
        "flows", help="show the live flows of the running router (needs root)"
    )
    flows.add_argument("--policy", metavar="NAME", help="those of a policy alone")
    flows.add_argument(
        "--rule", type=values.rule, metavar="N", help="those of a rule alone; 0: of the default"
    )
    flows.add_argument("--protocol", choices=PROTOCOLS, help="those of a protocol alone")
    flows.add_argument(
        "--sort", choices=FLOW_ORDERS, default="bytes", help="largest first (default: bytes)"
    )
    flows.add_argument("--json", action="store_true", help="print JSON")
    _add_tun(flows)
    flows.set_defaults(command=dispatch.flows)


def _add_web(commands: _Commands[Parser]) -> None:
    web = commands.add_parser(
        "web", help="serve a page, JSON and metrics about the running router (needs root)"
    )
    web.add_argument("--listen", metavar="ADDRESS", help="address and port (127.0.0.1:9469)")
    web.add_argument(
        "--token-file",
        type=values.path,
        metavar="FILE",
        help="the token that clients have to send; needed where other machines can reach ADDRESS",
    )
    _add_tun(web)
    web.set_defaults(command=dispatch.web)


def _add_top(commands: _Commands[Parser]) -> None:
    top = commands.add_parser("top", help="show live what the running router carries (needs root)")
    top.add_argument(
        "--interval",
        type=values.interval,
        default=1.0,
        metavar="SECONDS",
        help="between two readings, from 0.2 to 3600 (default: 1)",
    )
    _add_tun(top)
    top.set_defaults(command=dispatch.top)


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
    trace.add_argument("--count", type=values.amount, metavar="N", help="end after so many packets")
    trace.add_argument("--seconds", type=values.amount, metavar="S", help="end after S seconds")
    trace.add_argument(
        "--pcap", type=values.path, metavar="FILE", help="write them to a pcapng file too"
    )
    trace.add_argument("--json", action="store_true", help="one object a line")
    _add_tun(trace)
    trace.set_defaults(command=dispatch.trace)


def _add_reload(commands: _Commands[Parser]) -> None:
    reload = commands.add_parser(
        "reload", help="have the running router read its rules again (needs root)"
    )
    reload.add_argument("--json", action="store_true", help="print JSON")
    _add_tun(reload)
    reload.set_defaults(command=dispatch.reload)


def _add_lists(commands: _Commands[Parser]) -> None:
    lists = commands.add_parser(
        "lists",
        help="join, subtract and compare list files",
        description="List files as sets of addresses: networks and ranges, one a line, gzip too; "
        "'-' is the standard input. What is printed is the fewest networks, IPv4 first.",
    )
    operations = lists.add_subparsers(required=True, metavar="OPERATION", dest="operation")
    merge = operations.add_parser("merge", help="print what is in any of the files")
    merge.add_argument("files", metavar="FILE", nargs="+", type=values.file_name)
    minus = operations.add_parser("minus", help="print what is in the first and in no other file")
    minus.add_argument("first", metavar="FILE", type=values.file_name)
    minus.add_argument(
        "files", metavar="FILE", nargs="+", type=values.file_name, help="what to take away"
    )
    diff = operations.add_parser(
        "diff", help="print what is in OLD alone, with '- ' before it, and in NEW alone, with '+ '"
    )
    diff.add_argument("first", metavar="OLD", type=values.file_name)
    diff.add_argument("files", metavar="NEW", nargs=1, type=values.file_name)
    lists.set_defaults(command=dispatch.lists, first=None)


def _add_completion(commands: _Commands[Parser], whole: Parser) -> None:
    completion = commands.add_parser(
        "completion",
        help="print the completion of this command line for bash, zsh or fish",
        description="For a shell its script; for policies, rules and tuns those of the running "
        "router, a line each, which the scripts ask for (needs root).",
    )
    completion.add_argument(
        "what", choices=COMPLETIONS, metavar="WHAT", help=", ".join(COMPLETIONS)
    )
    completion.set_defaults(command=partial(dispatch.completion, whole))


def _add_tun(parser: Parser) -> None:
    parser.add_argument(
        "--tun", metavar="NAME", help="the TUN device of the router, where more than one is running"
    )


def _add_rules_file(parser: Parser) -> None:
    parser.add_argument(
        "-c",
        "--config",
        type=values.path,
        metavar="FILE",
        help="the rules (default: ./rules.yaml, then /etc/tunrouter/rules.yaml)",
    )
