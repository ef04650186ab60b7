"""Constants of xnu, all of which differ from those of other systems or are missing there.

Python has some of them on macOS only, and the code is checked on Linux too.
"""

from __future__ import annotations

from typing import Final

AF_UNSPEC: Final = 0
AF_INET: Final = 2
AF_ROUTE: Final = 17
AF_LINK: Final = 18
AF_INET6: Final = 30
AF_SYSTEM: Final = 32
"""sys/socket.h:408-425"""

SYSPROTO_CONTROL: Final = 2
"""sys/sys_domain.h"""
CTLIOCGINFO: Final = 0xC0644E03
"""sys/kern_control.h:97, _IOWR('N', 3, struct ctl_info) of 100 bytes"""
UTUN_CONTROL: Final = "com.apple.net.utun_control"
UTUN_OPT_IFNAME: Final = 2
UTUN_OPT_MAX_PENDING_PACKETS: Final = 16
"""net/if_utun.h:51-63; the level is SYSPROTO_CONTROL"""

CTL_NET: Final = 4
"""sys/sysctl.h"""
NET_RT_IFLIST2: Final = 6
NET_RT_DUMP2: Final = 7
"""sys/socket.h:581-582"""

RTM_VERSION: Final = 5
RTM_ADD: Final = 0x1
RTM_DELETE: Final = 0x2
RTM_CHANGE: Final = 0x3
RTM_GET: Final = 0x4
RTM_MISS: Final = 0x7
RTM_NEWADDR: Final = 0xC
RTM_DELADDR: Final = 0xD
RTM_IFINFO: Final = 0xE
RTM_NEWMADDR: Final = 0xF
RTM_DELMADDR: Final = 0x10
RTM_IFINFO2: Final = 0x12
RTM_NEWMADDR2: Final = 0x13
RTM_GET2: Final = 0x14
"""net/route.h, message types"""

RTA_DST: Final = 0x1
RTA_GATEWAY: Final = 0x2
RTA_NETMASK: Final = 0x4
RTA_IFP: Final = 0x10
RTA_IFA: Final = 0x20
"""net/route.h, bits of rtm_addrs: a sockaddr follows for each that is set, in their order"""

RTF_UP: Final = 0x1
RTF_GATEWAY: Final = 0x2
RTF_HOST: Final = 0x4
RTF_REJECT: Final = 0x8
RTF_LLINFO: Final = 0x400
RTF_STATIC: Final = 0x800
RTF_BLACKHOLE: Final = 0x1000
RTF_WASCLONED: Final = 0x20000
RTF_LOCAL: Final = 0x200000
RTF_BROADCAST: Final = 0x400000
RTF_MULTICAST: Final = 0x800000
RTF_IFSCOPE: Final = 0x1000000
RTF_PROXY: Final = 0x8000000
"""net/route.h"""
RTV_MTU: Final = 0x1
"""net/route.h, of rtm_inits: rmx_mtu is set"""

IFF_UP: Final = 0x1
IFF_LOOPBACK: Final = 0x8
IFF_POINTOPOINT: Final = 0x10
IFF_RUNNING: Final = 0x40
IFF_NOARP: Final = 0x80
"""net/if.h"""

ICMP6_FILTER: Final = 18
"""netinet6/in6.h; the level is IPPROTO_ICMPV6"""

IP_HDRINCL: Final = 2
IP_TOS: Final = 3
IP_TTL: Final = 4
IP_RECVTTL: Final = 24
IP_BOUND_IF: Final = 25
IP_PKTINFO: Final = 26
IP_RECVTOS: Final = 27
IP_DONTFRAG: Final = 28
"""netinet/in.h:417-447. As IP_RECVPKTINFO, IP_PKTINFO has packets reported with their interface;
control messages have the numbers of the options."""
IPV6_UNICAST_HOPS: Final = 4
IPV6_V6ONLY: Final = 27
IPV6_RECVTCLASS: Final = 35
IPV6_TCLASS: Final = 36
IPV6_RECVHOPLIMIT: Final = 37
IPV6_PKTINFO: Final = 46
IPV6_HOPLIMIT: Final = 47
IPV6_RECVPKTINFO: Final = 61
IPV6_DONTFRAG: Final = 62
IPV6_BOUND_IF: Final = 125
"""netinet6/in6.h:513, 545, 570-641, those of RFC 3542"""

TCP_NODELAY: Final = 0x1
TCP_KEEPALIVE: Final = 0x10
TCP_KEEPINTVL: Final = 0x101
TCP_KEEPCNT: Final = 0x102
TCP_CONNECTION_INFO: Final = 0x106
"""netinet/tcp.h:221-245"""
SIOCATMARK: Final = 0x40047307
"""sys/sockio.h:79, _IOR('s', 7, int)"""
