"""Which routes lead into the TUN, and which route the kernel would take.

    aggregate  ranges with a label each -> the fewest routes
    capture    which addresses enter the TUN, and by which routes
    exempt     endpoints of VPNs that no route may capture
    plan       all that is to be installed for one set of rules
    fib        the kernel's route lookup over the planned and the present routes

Must not know: how routes are installed.
"""
