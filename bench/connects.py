"""Connects one after the other, and prints how long connect() took: the load of bench.tcp.

    python -m bench.connects ADDRESS PORT [--count 300] [--pause 0.001]

Between two of them is a pause, in which whatever is on their way can end the last one; else its end
stands in each queue before the next one's beginning. Connections are closed by a reset, so that no
address is left waiting (TIME_WAIT) for the next run.
"""

from __future__ import annotations

import argparse
import json
import socket
import time
from statistics import median
from struct import pack

RESET_ON_CLOSE = pack("ii", 1, 0)


def connect_once(address: str, port: int) -> float:
    """Microseconds."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        began = time.perf_counter()
        sock.connect((address, port))
        return (time.perf_counter() - began) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--pause", type=float, default=0.0, help="seconds")
    options = parser.parse_args()
    taken = []
    for _ in range(options.count):
        taken.append(connect_once(options.address, options.port))
        time.sleep(options.pause)
    print(json.dumps({"median_us": median(taken), "per_second": len(taken) / sum(taken) * 1e6}))


if __name__ == "__main__":
    main()
