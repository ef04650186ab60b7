"""What the router's process may request from the kernel, once it has given up root.

`program` is the decision about each system call as a classic BPF program (seccomp(2)), `calls` the
numbers of the calls, `enter` makes both apply to the process.

Always true: what the running router does not need fails with EPERM; nothing that a process of
root does is concerned, and no other process is.
"""
