"""macOS (xnu), behind the Protocols of `base`.

Nothing here has run on a Mac yet: docs/macos.md says what has been proven on Linux, and how. Places
in xnu's sources are those of xnu-11417.101.15 (macOS 15.4), paths under bsd/.

Always true: no module needs a constant or a function of Python that only a Mac has, unless it
checks `sys.platform` first; what the kernel does stands behind the Protocols of `kernel`, so that
a fake of it shows on any system what would be requested.
"""
