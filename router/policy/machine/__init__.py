"""What a machine has and lacks for a run, judged: `tunrouter selftest`.

    facts         what is read of a machine, as plain data
    arrivals      what the host's packet filter does to packets that arrive
    result        the outcome of one check
    system        checks of the kernel, rights, devices and settings
    network       checks of ways out, other routes and the packet filter
    darwin        checks of a Mac
    extras        checks of what single commands need
    checks        all of them, in their order

Always true: a check is a function of facts alone, and never guesses: what could not be seen is said
to be unseen.

Must not know: how a machine is read.
"""
