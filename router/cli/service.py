"""`tunrouter service`: what a service manager needs to run the router, printed to be redirected."""

from __future__ import annotations

import plistlib
import shlex
import sys
from pathlib import Path
from typing import Final

from router.cli import exits
from router.cli.rules_file import rules_file

UNIT: Final = """\
# tunrouter as a service of systemd (252 or newer). To install it, as root:
#
#   {command} >/etc/systemd/system/tunrouter.service
#   systemctl daemon-reload
#   systemctl enable --now tunrouter
#
# So that no other service may signal or renice the router, an account of its own:
#
#   useradd --system --no-create-home --shell /usr/sbin/nologin tunrouter
#
# Then: systemctl status tunrouter, journalctl -u tunrouter, systemctl reload tunrouter after a
# change of the rules.
# Where the settings below are too tight for your system: systemctl edit tunrouter.

[Unit]
Description=tunrouter, which routes by the rules of {described}
After=network.target nss-lookup.target
Wants=network.target
# Rules that are wrong stay wrong: it is not tried for ever.
StartLimitIntervalSec=60
StartLimitBurst=5

[Service]
Type=notify
NotifyAccess=main
ExecStart={program} run -c {rules}
# Waits for what comes of it, and fails if the rules have errors. A signal would need CAP_KILL.
ExecReload={program} reload
# After a kill of everything at once there may be something to undo.
ExecStopPost=-{program} cleanup
WatchdogSec=30
TimeoutStartSec=60
TimeoutStopSec=15
Restart=on-failure
RestartSec=2
# Exit status 2: the rules have errors. A new attempt needs another file.
RestartPreventExitStatus=2
# Two sockets for each connection, one for each inside port of UDP, and pipes.
LimitNOFILE=131072

# It starts as root with these capabilities alone:
#   NET_ADMIN, NET_RAW     the TUN, routes, sockets that are bound to an interface
#   BPF                    the program that counts answers
#   SETUID, SETGID         the router itself goes on as another user, with none
#   DAC_READ_SEARCH        rules that only their owner may read
CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW CAP_BPF CAP_SETUID CAP_SETGID CAP_DAC_READ_SEARCH
NoNewPrivileges=yes
DevicePolicy=closed
DeviceAllow=/dev/net/tun rw
RuntimeDirectory=tunrouter
RuntimeDirectoryMode=0755
# Routers that were started by hand keep there what they would undo.
RuntimeDirectoryPreserve=yes
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
PrivateMounts=yes
# Not ProtectKernelTunables: rp_filter is one of those that it sets, and sets back.
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_PACKET AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
KeyringMode=private
UMask=0077
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallFilter=setuid setgroups bpf seccomp capset
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""

LABEL: Final = "tunrouter"
PLIST_COMMENT: Final = """\
<!--
tunrouter as a service of launchd. To install it, as root:

  {command} >/Library/LaunchDaemons/tunrouter.plist
  chown root:wheel /Library/LaunchDaemons/tunrouter.plist
  chmod 644 /Library/LaunchDaemons/tunrouter.plist
  launchctl bootstrap system /Library/LaunchDaemons/tunrouter.plist

It logs to /var/log/tunrouter.log. To have it read changed rules: sudo tunrouter reload
To stop it, until the next start of the system:

  launchctl bootout system/tunrouter

To remove it, after that:

  rm /Library/LaunchDaemons/tunrouter.plist
-->
"""
DESCRIPTORS: Final = 131_072


def service(kind: str, given: Path | None) -> int:
    """Print a service of a kind, systemd or launchd; the exit status."""
    program, rules = this_program(), str(rules_file(given).absolute())
    if kind == "systemd":
        print(systemd_unit(program, rules), end="")
    else:
        print(launchd_plist(program, rules), end="")
    return exits.OK


def this_program() -> list[str]:
    """The command that runs this program from any directory."""
    started = Path(sys.argv[0])
    if started.suffix == ".py":
        return [sys.executable, "-m", "router.cli"]
    return [str(started.absolute())]


def systemd_unit(program: list[str], rules: str) -> str:
    """A unit, systemd.unit(5). `rules`: the absolute path of the rules file."""
    return UNIT.format(
        command=_shell([*program, "service", "systemd", "-c", rules]),
        described=_one_line(rules).replace("%", "%%"),
        program=" ".join(map(_in_unit, program)),
        rules=_in_unit(rules),
    )


def launchd_plist(program: list[str], rules: str) -> str:
    """A property list, launchd.plist(5). `rules`: the absolute path of the rules file."""
    text = plistlib.dumps(
        {
            "Label": LABEL,
            "ProgramArguments": [*program, "run", "-c", rules],
            "RunAtLoad": True,
            # After a crash; not after SIGTERM, which ends it well.
            "KeepAlive": {"SuccessfulExit": False},
            "StandardErrorPath": f"/var/log/{LABEL}.log",
            "SoftResourceLimits": {"NumberOfFiles": DESCRIPTORS},
            "HardResourceLimits": {"NumberOfFiles": DESCRIPTORS},
        },
        sort_keys=False,
    ).decode()
    command = _shell([*program, "service", "launchd", "-c", rules])
    # In a comment of XML there may be no two hyphens in a row.
    comment = PLIST_COMMENT.format(command=command.replace("--", "- -"))
    return text.replace("<plist ", comment + "<plist ", 1)


def _shell(words: list[str]) -> str:
    return _one_line(shlex.join(words))


def _in_unit(word: str) -> str:
    """A word of a command line, as systemd.service(5) quotes them."""
    for character, written in (
        ("\\", "\\\\"),
        ("\n", "\\n"),
        ('"', '\\"'),
        ("%", "%%"),
        ("$", "$$"),
    ):
        word = word.replace(character, written)
    return f'"{word}"' if not word or any(c.isspace() or c in "'\";" for c in word) else word


def _one_line(text: str) -> str:
    return " ".join(text.split())
