"""eBPF: the system call, instructions, and the program that counts answers (bpf(2))."""
