"""The commands: arguments and printing, nothing else.

    program      the arguments of every command, and which function carries it out
    rules_file   which file, reading it, printing its problems
    run          route until interrupted
    check        all problems, then the plan; report and plan_text print them
    explain      what happens to packets to one address; explain_program: for the running router
    reload       makes the running router read its rules again
    lists        list files joined, subtracted, compared
    status       the state of the running router; status_text formats it
    flows        the live flows of the running router; flows_text formats them
    web          the web process, started by hand
    selftest     what this machine has and lacks for a run
    invocation   how the program is called here, for commands to copy
    terminal     colours and progress at a terminal

Commands import what they need when they are called: each starts as fast as it can.
"""

from typing import NoReturn

from router.cli.program import main
from router.platform.ending import end

__all__ = ["main", "program"]


def program() -> NoReturn:
    """The program `tunrouter`."""
    end(main())
