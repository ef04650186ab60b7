"""Flow tables and flow logic: which packet belongs to which flow, and what becomes of it.

Pure: no sockets, no clocks, no logs. Time is an argument, in seconds of any steady clock.
"""
