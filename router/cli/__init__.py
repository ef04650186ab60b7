"""The commands: arguments and printing, nothing else.

    program      the arguments of every command, and which function carries it out
    rules_file   which file, reading it, telling its problems
    run          route until interrupted
    check        all problems, then the plan; report and plan_text print them
    explain      what becomes of packets to one address
    reload       other rules for the running router
    lists        list files joined, subtracted, compared
    status       what the running router does; status_text prints it for people
    terminal     colours and progress, where somebody looks

Commands import what they need when they are called: each starts as fast as it can.
"""

from router.cli.program import main

__all__ = ["main"]
