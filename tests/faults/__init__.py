"""Faults at each step of a run: start, traffic, change of an interface, reload, stop.

injection/      a sitecustomize that Python imports when it starts: see there what a step is
steps.py        the steps, as a run without faults reports them, and the faults of each
scenario.py     one run in a network namespace, and what holds after it
__main__.py     `make faults`: every fault at every step
"""
