"""Which rule decides for a flow, and which rules decide nothing.

    traffic    protocols and ports: the condition of a rule, and whether rules cover another
    flatten    rules -> disjoint ranges, each with its chain of rules
    table      ranges -> lookup of one address; the decision for a flow
    coverage   which rule decides what in every range
    shadows    rules that can never match, or that change nothing

Must not know: interfaces, routes, whether a policy is up.
"""
