"""Privilege separation, as far as it is the same on every system.

Theory of operation. The router starts the guard as root, with a session of its own, and gives up
its own privileges. The guard carries out operations for it, over the one connection between them:
by name and with their arguments as JSON; sockets and the TUN go over as descriptors. The guard
reads no packet and no rules. A third process, the undoer, records what outlives the TUN before the
guard does it.

    router   ----->  guard    -----> undoer
    any user         root            root

When one of them ends, the connections to the others end. The router: the guard ends, and the undoer
undoes. The guard: the undoer undoes, the router stops. The undoer: the guard undoes, the router
stops. Guard and undoer: no process has the rights to undo, and the router logs the remedy.

`channel` carries the messages, `client` is the router's end, `guard` the loop at the other end;
`undoer` is the guard's end of the undoer, whose process (`recording`) writes the `journal`, and
`leftovers` undoes the changes of killed runs. The operations themselves, and what a change is
(`undoable`), belong to the system.
"""
