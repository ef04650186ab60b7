r"""What is tried on a real Mac: `make macos`, or sudo python -m tests.macos

    programs -- utun11 (the router) -- en0          home: what the bare path does is compared with
                                    \- utun12       office: a far end in user space (far_end)
                                    \- microsocks   proxy, where it is installed

Always true: the state of the network is compared before and after; what a bare path does not answer
either is named and not compared. Nothing is sent but to the far end, this machine, and the few
public hosts that TARGETS in `steps` names.
"""
