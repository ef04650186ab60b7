"""Flow tables and flow logic: the flow of each packet, its lifetime, and its translation.

Pure: no sockets, no clocks, no logs. Time is an argument, in seconds of any steady clock.
"""
