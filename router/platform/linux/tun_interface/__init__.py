"""The TUN as an interface of the system: configured once, and restored when a program changes it.

`interface` puts together the parts: the `link` itself, its `settings`, its `addresses`, and the
routes that come with those (`address_routes`).

Always true: the TUN is known by its index, so renaming does not hide it; a part that cannot be
restored does not keep the others from being restored.

Must not know: which routes lead to the TUN, beside those that come with its addresses.
"""
