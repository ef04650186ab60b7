"""Configurations of other programs (Clash and mihomo, Surge, sing-box), turned into rules.yaml.

Theory of operation. A reader for each program turns its text into rules in their order, each a
condition and the name of a policy, and into definitions of those names (model). Conditions that a
rule here can have are sets of addresses, ports and protocols; `and` and `or` of them are worked out
(conditions). Names are followed through groups to one way out, or to `reject` where there is none
here (policies). What comes of both is written as text (writing). Every line that could not be taken
over, or not exactly, is a note. Decisions: docs/adr/032-import.md.

Always true: a stranger wrote the files. They are opened and bounded as rules files are; lists that
they name are read only from below their own directory, and nothing is fetched. Passwords get into
neither text nor notes.

Must not know: the state of the system, what the command line looks like.
"""
