"""The documentation: it builds, its links have targets, the reference is that of the schema."""
