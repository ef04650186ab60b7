"""From the arguments of a command to the module that carries it out, imported only then."""

from __future__ import annotations

import argparse
import sys

from router.cli import exits
from router.cli.arguments import Parser


def init(options: argparse.Namespace) -> int:
    from router.cli.init import init as carry_out  # noqa: PLC0415 - as fast a start as possible

    return carry_out(options.output)


def import_rules(options: argparse.Namespace) -> int:
    from router.cli.import_rules import import_rules as carry_out  # noqa: PLC0415

    return carry_out(options.program, options.file, options.output)


def run(options: argparse.Namespace) -> int:
    from router.cli.signals import in_order  # noqa: PLC0415 - as fast a start as possible: below too

    with in_order():
        from router.cli.run import run as carry_out  # noqa: PLC0415

        return carry_out(
            options.config, options.log_level, options.log_format, watches=options.watch
        )


def check(options: argparse.Namespace) -> int:
    from router.cli.check import check as carry_out  # noqa: PLC0415

    return carry_out(options.config, options.format, strict=options.strict)


def explain(parser: Parser, options: argparse.Namespace) -> int:
    if options.pcap is not None:
        return _explain_pcap(options)
    if options.destination is None:
        parser.refuse_missing("DEST")
    from router.cli.explain import explain as carry_out  # noqa: PLC0415

    return carry_out(
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


def cleanup(_options: argparse.Namespace) -> int:
    from router.cli.cleanup import cleanup as carry_out  # noqa: PLC0415

    return carry_out()


def status(options: argparse.Namespace) -> int:
    from router.cli.status import status as carry_out  # noqa: PLC0415

    return carry_out(options.tun, options.require or (), as_json=options.json)


def flows(options: argparse.Namespace) -> int:
    from router.cli.flows import flows as carry_out  # noqa: PLC0415

    wanted = {"policy": options.policy, "rule": options.rule, "protocol": options.protocol}
    return carry_out(options.tun, wanted, options.sort, as_json=options.json)


def web(options: argparse.Namespace) -> int:
    from router.cli.web import web as carry_out  # noqa: PLC0415

    return carry_out(options.tun, options.listen, options.token_file)


def top(options: argparse.Namespace) -> int:
    from router.cli.top.command import top as carry_out  # noqa: PLC0415

    return carry_out(options.tun, options.interval)


def trace(options: argparse.Namespace) -> int:
    from router.cli.trace import trace as carry_out  # noqa: PLC0415

    return carry_out(
        *(options.tun, options.filter, options.count, options.seconds, options.pcap),
        as_json_lines=options.json,
    )


def service(options: argparse.Namespace) -> int:
    from router.cli.service import service as carry_out  # noqa: PLC0415

    return carry_out(options.kind, options.config)


def reload(options: argparse.Namespace) -> int:
    from router.cli.reload import reload as carry_out  # noqa: PLC0415

    return carry_out(options.tun, as_json=options.json)


def lists(options: argparse.Namespace) -> int:
    from router.cli.lists import lists as carry_out  # noqa: PLC0415

    first = [] if options.first is None else [options.first]
    return carry_out(options.operation, [*first, *options.files])


def selftest(options: argparse.Namespace) -> int:
    from router.cli.selftest import selftest as carry_out  # noqa: PLC0415

    return carry_out(options.config, as_json=options.json)


def completion(parser: Parser, options: argparse.Namespace) -> int:
    from router.cli.completion.command import completion as carry_out  # noqa: PLC0415

    return carry_out(options.what, parser)


def schema(_options: argparse.Namespace) -> int:
    from router.config.schema import schema_text  # noqa: PLC0415

    print(schema_text(), end="")
    return exits.OK
