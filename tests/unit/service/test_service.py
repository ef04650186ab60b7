"""What `tunrouter service` prints."""

from __future__ import annotations

import plistlib
import re
import shlex
import sys
from pathlib import Path

import pytest

from router.cli.program import main
from router.cli.service import launchd_plist, systemd_unit

PROGRAM = ["/opt/tunrouter/bin/tunrouter"]
AWKWARD = '/etc/my "rules" 100%/$HOME/a\\b;c.yaml'


def settings(unit: str) -> dict[str, str]:
    lines = [line for line in unit.splitlines() if line and line[0] not in "#["]
    return dict(line.split("=", 1) for line in lines)


def test_the_paths_are_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["bin/tunrouter"])
    assert main(["service", "systemd", "-c", "my.yaml"]) == 0
    unit = settings(capsys.readouterr().out)
    assert unit["ExecStart"] == f"{tmp_path}/bin/tunrouter run -c {tmp_path}/my.yaml"
    assert main(["service", "launchd", "-c", "my.yaml"]) == 0
    plist = plistlib.loads(capsys.readouterr().out.encode())
    assert plist["ProgramArguments"] == [
        f"{tmp_path}/bin/tunrouter",
        *("run", "-c", f"{tmp_path}/my.yaml"),
    ]


def test_run_as_a_module(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["/opt/router/cli/__main__.py"])
    assert main(["service", "systemd", "-c", "/rules.yaml"]) == 0
    start = settings(capsys.readouterr().out)["ExecStart"]
    assert start == f"{sys.executable} -m router.cli run -c /rules.yaml"


def test_an_awkward_path_is_quoted_for_systemd() -> None:
    unit = settings(systemd_unit(PROGRAM, AWKWARD))
    written = '"/etc/my \\"rules\\" 100%%/$$HOME/a\\\\b;c.yaml"'
    assert unit["ExecStart"] == f"{PROGRAM[0]} run -c {written}"
    assert "100%%" in unit["Description"]


@pytest.mark.parametrize("rules", ["/etc/tunrouter/rules.yaml", AWKWARD, "/two\nlines"])
def test_every_line_of_a_unit_is_a_comment_a_section_or_a_setting(rules: str) -> None:
    for line in systemd_unit(PROGRAM, rules).splitlines():
        assert re.fullmatch(r"(#.*|\[[A-Z]\w+\]|[A-Z]\w+=.+|)", line), line


@pytest.mark.parametrize(
    ("printed", "kind"), [(systemd_unit, "systemd"), (launchd_plist, "launchd")]
)
def test_the_header_has_the_command_that_prints_it(printed: object, kind: str) -> None:
    assert callable(printed)
    text = printed(PROGRAM, AWKWARD)
    command = shlex.join([*PROGRAM, "service", kind, "-c", AWKWARD])
    assert f"  {command} >/" in text


def test_a_plist() -> None:
    text = launchd_plist(PROGRAM, "/etc/a&<b>--c.yaml")
    assert plistlib.loads(text.encode()) == {
        "Label": "tunrouter",
        "ProgramArguments": [*PROGRAM, "run", "-c", "/etc/a&<b>--c.yaml"],
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "StandardErrorPath": "/var/log/tunrouter.log",
        "SoftResourceLimits": {"NumberOfFiles": 131072},
        "HardResourceLimits": {"NumberOfFiles": 131072},
    }
    header = text[: text.index("<plist")]
    installs, _, removes = header.partition("launchctl bootstrap system ")
    path = "/Library/LaunchDaemons/tunrouter.plist"
    assert f">{path}" in installs
    assert removes.startswith(path)
    assert removes.index("launchctl bootout system/tunrouter") < removes.index(f"rm {path}")
    assert header.count("--") == 2, "those of the comment alone (XML 1.0, section 2.5)"


PLIST = b"""\
<plist version="1.0">
<dict>
\t<key>Label</key>
\t<string>tunrouter</string>
\t<key>ProgramArguments</key>
\t<array>
\t\t<string>/opt/tunrouter/bin/tunrouter</string>
\t\t<string>run</string>
\t\t<string>-c</string>
\t\t<string>/etc/tunrouter/rules.yaml</string>
\t</array>
\t<key>RunAtLoad</key>
\t<true/>
\t<key>KeepAlive</key>
\t<dict>
\t\t<key>SuccessfulExit</key>
\t\t<false/>
\t</dict>
\t<key>StandardErrorPath</key>
\t<string>/var/log/tunrouter.log</string>
\t<key>SoftResourceLimits</key>
\t<dict>
\t\t<key>NumberOfFiles</key>
\t\t<integer>131072</integer>
\t</dict>
\t<key>HardResourceLimits</key>
\t<dict>
\t\t<key>NumberOfFiles</key>
\t\t<integer>131072</integer>
\t</dict>
</dict>
</plist>
"""


def test_the_bytes_of_a_plist() -> None:
    found = launchd_plist(PROGRAM, "/etc/tunrouter/rules.yaml").encode()
    assert found[found.index(b"<plist") :] == PLIST


def test_the_service_fails_to_start_again_where_the_rules_are_bad() -> None:
    unit = settings(systemd_unit(PROGRAM, "/rules.yaml"))
    assert unit["Type"] == "notify"
    assert unit["Restart"] == "on-failure"
    assert unit["RestartPreventExitStatus"] == "2"


def test_a_reload_is_waited_for_and_needs_no_right_to_signal_other_users() -> None:
    unit = settings(systemd_unit(PROGRAM, "/rules.yaml"))
    assert unit["ExecReload"] == f"{PROGRAM[0]} reload"
    assert "CAP_KILL" not in unit["CapabilityBoundingSet"]


def test_the_runtime_directory_is_kept_for_other_routers() -> None:
    unit = settings(systemd_unit(PROGRAM, "/rules.yaml"))
    assert (unit["RuntimeDirectory"], unit["RuntimeDirectoryPreserve"]) == ("tunrouter", "yes")
