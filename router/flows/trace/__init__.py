"""What a trace selects and reports: filters, the fields that they read, decisions.

Must not know: where packets come from, who reads the trace.
"""
