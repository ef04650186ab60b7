"""The reference of rules.yaml, as docs/rules.md and as the manual page rules.yaml(5).

keys       what the JSON Schema says about each key
prose      what the reference says beside that
markdown   docs/rules.md; the manual page is in scripts/manual
"""
