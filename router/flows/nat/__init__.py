"""Network address translation of packets: other addresses, ports and identifiers, in headers and in
what ICMP errors quote, with every checksum adjusted or computed anew.

Pure: bytes in, bytes out. The caller has found the flow of a packet.
"""
