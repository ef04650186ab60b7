"""eBPF (bpf(2)): the system call, instructions, and the programs: `answers` counts answers, `flows`
carries the packets of known flows at the TUN, `steering` tells its queues apart."""
