"""Numbers of rtnetlink, under the names that the kernel's headers give them.

Sources: linux/netlink.h, linux/rtnetlink.h, linux/if.h, linux/if_link.h, linux/if_addr.h,
linux/fib_rules.h, linux/nexthop.h.
"""

from __future__ import annotations

import errno
from typing import Final

# Messages, and the flags of requests.
NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3
NLM_F_REQUEST: Final = 0x001
NLM_F_ACK: Final = 0x004
NLM_F_REPLACE: Final = 0x100
NLM_F_EXCL: Final = 0x200
NLM_F_ACK_TLVS: Final = 0x200
"""In an NLMSG_ERROR message: attributes come behind its header."""
NLMSGERR_ATTR_MSG: Final = 1
NLM_F_DUMP: Final = 0x300
SO_RCVBUFFORCE: Final = 33
"""A receive buffer beyond net.core.rmem_max, with CAP_NET_ADMIN (asm-generic/socket.h)."""
SOL_NETLINK: Final = 270
NETLINK_CAP_ACK: Final = 10
"""A socket option: NLMSG_ERROR quotes no more than the header of the request (Linux 4.3)."""
NETLINK_EXT_ACK: Final = 11
"""A socket option: NLMSG_ERROR has the kernel's words beside the number (Linux 4.12)."""
NETLINK_GET_STRICT_CHK: Final = 12
"""A socket option: dumps obey the attributes of their request (Linux 4.20)."""
NLM_F_CREATE: Final = 0x400
"""Alone, without NLM_F_EXCL: an IPv4 route goes before one of the same prefix and metric."""
NLA_TYPE_MASK: Final = 0x3FFF

RTM_NEWLINK: Final = 16
RTM_GETLINK: Final = 18
RTM_NEWADDR: Final = 20
RTM_DELADDR: Final = 21
RTM_GETADDR: Final = 22
RTM_NEWROUTE: Final = 24
RTM_DELLINK: Final = 17
RTM_DELROUTE: Final = 25
RTM_GETROUTE: Final = 26
RTM_NEWRULE: Final = 32
RTM_DELRULE: Final = 33
RTM_GETRULE: Final = 34
RTM_GETNEXTHOP: Final = 106

# Multicast groups, as bits of sockaddr_nl.nl_groups.
RTMGRP_LINK: Final = 0x1
RTMGRP_NEIGH: Final = 0x4
RTMGRP_IPV4_IFADDR: Final = 0x10
RTMGRP_IPV4_ROUTE: Final = 0x40
RTMGRP_IPV4_RULE: Final = 0x80
RTMGRP_IPV6_IFADDR: Final = 0x100
RTMGRP_IPV6_ROUTE: Final = 0x400
RTMGRP_IPV6_RULE: Final = 1 << 19 - 1
RTMGRP_IPV4_NETCONF: Final = 1 << 24 - 1
"""Sysctls of interfaces, rp_filter among them."""
RTMGRP_NEXTHOP: Final = 1 << 32 - 1

# Links.
IFF_UP: Final = 0x1
IFF_LOOPBACK: Final = 0x8
IFF_POINTOPOINT: Final = 0x10
IFF_RUNNING: Final = 0x40
IFF_NOARP: Final = 0x80
IFLA_IFNAME: Final = 3
IFLA_MTU: Final = 4
IFLA_TXQLEN: Final = 13
IFLA_LINKINFO: Final = 18
IFLA_INFO_KIND: Final = 1
IFLA_INFO_DATA: Final = 2
IFLA_TUN_NUM_QUEUES: Final = 8
IFLA_TUN_NUM_DISABLED_QUEUES: Final = 9
IFLA_PROP_LIST: Final = 52
IFLA_ALT_IFNAME: Final = 53
IN6_ADDR_GEN_MODE_NONE: Final = 1

# Addresses.
IFA_ADDRESS: Final = 1
IFA_LOCAL: Final = 2
IFA_F_NODAD: Final = 0x02

# Routes.
RTA_DST: Final = 1
RTA_SRC: Final = 2
RTA_OIF: Final = 4
RTA_GATEWAY: Final = 5
RTA_PRIORITY: Final = 6
RTA_PREFSRC: Final = 7
RTA_METRICS: Final = 8
RTA_MULTIPATH: Final = 9
RTA_TABLE: Final = 15
RTA_VIA: Final = 18
RTA_PREF: Final = 20
RTA_NH_ID: Final = 30
RTAX_MTU: Final = 2
RTM_F_CLONED: Final = 0x200
RTM_F_LOOKUP_TABLE: Final = 0x1000
"""The answer names the table that decided, not the main one always."""
RTM_F_FIB_MATCH: Final = 0x2000
"""The answer is the matching entry of the table, not what a packet gets."""
RTNH_F_DEAD: Final = 0x1
RT_SCOPE_UNIVERSE: Final = 0
RT_SCOPE_LINK: Final = 253
RT_SCOPE_HOST: Final = 254
RTN_UNSPEC: Final = 0
RTN_UNICAST: Final = 1
RTN_LOCAL: Final = 2
RTN_BROADCAST: Final = 3
RTN_ANYCAST: Final = 4
RTN_MULTICAST: Final = 5
RTN_BLACKHOLE: Final = 6
RTN_UNREACHABLE: Final = 7
RTN_PROHIBIT: Final = 8
RTN_THROW: Final = 9
RTPROT_KERNEL: Final = 2
RTPROT_TUNROUTER: Final = 116
"""Marks routes and rules as this router's; free in /etc/iproute2/rt_protos."""

# Nexthop objects.
NHA_ID: Final = 1
NHA_GROUP: Final = 2
NHA_OIF: Final = 5
NHA_GATEWAY: Final = 6

# Rules.
FRA_DST: Final = 1
FRA_SRC: Final = 2
FRA_IIFNAME: Final = 3
FRA_PRIORITY: Final = 6
FRA_FWMARK: Final = 10
FRA_SUPPRESS_PREFIXLEN: Final = 14
FRA_TABLE: Final = 15
FRA_OIFNAME: Final = 17
FRA_L3MDEV: Final = 19
FRA_UID_RANGE: Final = 20
FRA_PROTOCOL: Final = 21
FRA_IP_PROTO: Final = 22
FRA_SPORT_RANGE: Final = 23
FRA_DPORT_RANGE: Final = 24
FRA_DSCP: Final = 25
FIB_RULE_INVERT: Final = 0x2
FR_ACT_TO_TBL: Final = 1

# Errors.
OVERRUNS: Final = frozenset({errno.ENOBUFS, errno.ENOMEM})
"""The socket's buffer was full, and reports are lost."""
GONE: Final = frozenset({errno.ENOENT, errno.ESRCH, errno.ENODEV})
"""The rule, route or interface does not exist."""
