"""Programs that copy files, and tracepath, from the router's machine: what they print and copy is
what they print and copy on the bare path."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.e2e.direct.ends import PATHS
from tests.e2e.netns import Namespace
from tests.e2e.processes import Process
from tests.e2e.testbed import FAMILIES, Family, Testbed
from tests.e2e.udp import BARE, BARE_OFFICE, HOME, OFFICE, RULES
from tests.e2e.wait import wait_until

pytestmark = [pytest.mark.rules(RULES), pytest.mark.usefixtures("direct")]

SSH_PORT, FTP_PORT, TFTP_PORT = 2222, 2121, 69
DEBIAN_PYTHON = "/usr/bin/python3"
"""That of Debian's packages."""
SIZE = 300_000
NO_NAMES = "hosts: files\n"
"""There is no name server (nsswitch.conf(5))."""
HOSTS = (HOME, OFFICE, BARE, BARE_OFFICE)
OPTIONS = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR")

SERVER_SETTINGS = """
Port {port}
HostKey {directory}/host
AuthorizedKeysFile {directory}/user.pub
PidFile none
StrictModes no
UsePAM no
Subsystem sftp internal-sftp
"""


class Served(NamedTuple):
    """A directory that the far hosts serve, the key of its SSH server, the content of `file`."""

    directory: Path
    key: Path
    content: bytes

    @property
    def ssh(self) -> list[str]:
        options = [word for option in OPTIONS for word in ("-o", option)]
        return ["-F", "none", "-i", str(self.key), *options]


def named(family: Family, address: str) -> str:
    return f"[{address}]" if family.version == 6 else address


def listens(namespace: Namespace, kind: str, port: int, number: int) -> bool:
    """Whether that many sockets of a kind, options of ss, are at a port."""
    return namespace.run("ss", kind).stdout.count(f":{port} ") >= number


@pytest.fixture(scope="module")
def served(bed: Testbed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The servers answer and connect from addresses of interfaces, so the far hosts get some."""
    addresses = [
        f"{family.far(host)}/{family.host_bits} dev lo" for family in FAMILIES for host in HOSTS
    ]
    bed.far.ip(*(f"addr add {address}" for address in addresses))
    keys, shared = (tmp_path_factory.mktemp(name) for name in ("keys", "shared"))
    for name in ("host", "user"):
        bed.far.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(keys / name))
    (keys / "config").write_text(SERVER_SETTINGS.format(port=SSH_PORT, directory=keys))
    Path("/run/sshd").mkdir(exist_ok=True)
    content = random.Random(7).randbytes(SIZE)
    (shared / "file").write_bytes(content)
    for each in (*shared.parents[:2], shared):
        each.chmod(0o755)
    pyftpdlib = ("-i", "::", "-p", str(FTP_PORT), "-d", str(shared))
    started: list[Process] = []
    with ExitStack() as stack:
        for command in (
            ("/usr/sbin/sshd", "-D", "-e", "-f", str(keys / "config")),
            (DEBIAN_PYTHON, "-m", "pyftpdlib", *pyftpdlib),
            *(
                ("in.tftpd", "-L", f"-{family.version}", "-a", at, "--secure", str(shared))
                for family in FAMILIES
                for host in HOSTS
                for at in [f"{named(family, family.far(host))}:{TFTP_PORT}"]
            ),
        ):
            started.append(stack.enter_context(closing(bed.far.start(*command))))
        for kind, port, number in (
            ("-Hltn", SSH_PORT, 2),
            ("-Hltn", FTP_PORT, 1),
            ("-Hlun", TFTP_PORT, 2 * len(HOSTS)),
        ):
            wait_until(
                partial(listens, bed.far, kind, port, number),
                f"port {port}",
                detail=lambda: "".join(each.report() for each in started),
            )
        yield Served(shared, keys / "user", content)
    bed.far.ip(*(f"addr del {address}" for address in addresses))


@pytest.mark.parametrize("copier", ["scp", "rsync", "tftp", "active FTP"])
@PATHS
def test_a_file_is_copied(
    bed: Testbed,
    family: Family,
    served: Served,
    copier: str,
    through: int,
    bare: int,
    tmp_path: Path,
) -> None:
    printed = []
    for host in (through, bare):
        target = tmp_path / str(host)
        target.mkdir()
        command = copying(copier, family, family.far(host), served)
        done = bed.router.run("env", "-C", str(target), *command)
        assert (target / "file").read_bytes() == served.content
        printed.append(re.sub(r"[\d.,]+ (bytes/sec|seconds)", r"\1", done.stdout + done.stderr))
    assert printed[0].replace(family.far(through), family.far(bare)) == printed[1]


def copying(copier: str, family: Family, address: str, served: Served) -> Sequence[str]:
    """A command that copies `file` to the working directory."""
    there = f"root@{named(family, address)}:{served.directory}/file"
    match copier:
        case "scp":
            return ["scp", "-P", str(SSH_PORT), *served.ssh, there, "."]
        case "rsync":
            shell = " ".join(["ssh", "-p", str(SSH_PORT), *served.ssh])
            return ["rsync", "--itemize-changes", "-e", shell, there, "."]
        case "tftp":
            return ["tftp", f"-{family.version}", "-m", "binary", address, "-c", "get", "file"]
        case _:
            url = f"ftp://{named(family, address)}:{FTP_PORT}/file"
            return ["curl", "-sS", "--ftp-port", "-", "-O", url]


@pytest.fixture(scope="module")
def no_names(bed: Testbed) -> Iterator[None]:
    """Nothing waits for one."""
    directory = bed.router.configuration
    directory.mkdir(parents=True)
    (directory / "nsswitch.conf").write_text(NO_NAMES, encoding="utf-8")
    yield
    shutil.rmtree(directory)


@pytest.mark.parametrize(
    "options",
    [("-n",), ("-b",), ("-n", "-m", "2"), ("-n", "-l", "1300", "-p", "40000")],
    ids=" ".join,
)
@PATHS
def test_tracepath(
    bed: Testbed,
    no_names: None,
    family: Family,
    options: tuple[str, ...],
    through: int,
    bare: int,
) -> None:
    """But for the hop that is the router's."""
    ours, kernels = (
        bed.router.run("tracepath", f"-{family.version}", *options, family.far(host)).stdout
        for host in (through, bare)
    )
    hops = without_times(ours)
    assert any(family.tun_peer in hop for hop in hops[:3])
    expected = without_times(kernels.replace(family.far(bare), family.far(through)))
    if "-m" in options:
        assert any(hop.startswith("Too many hops") for hop in hops)
        return
    assert [hop for hop in hops if family.tun_peer not in hop] == expected


def without_times(printed: str) -> list[str]:
    """The lines without round-trip times, the numbers of hops, and asymmetry; each hop once, as
    tracepath prints a hop again whose answer changes the path MTU."""
    found = []
    for line in printed.splitlines():
        answer = re.sub(r"^ ?\d+[:?]:? +", "", line.strip())
        answer = re.sub(r" +[\d.]+ms|asymm +\d+|hops \d+ back \d+", "", answer)
        found.append(" ".join(answer.split()))
    return list(dict.fromkeys(found))
