"""xnu's structures, laid out by the C rules of ctypes: independent of the offsets in the code.

The fields stand as in net/route.h:75-169, net/if.h:179-232, net/if_var.h:163-235 and
net/if_dl.h:96-106 (xnu-11417.101.15); types of C of the same width.
"""

from __future__ import annotations

import ctypes
from ctypes import c_char, c_int32, c_uint8, c_uint16, c_uint32, c_uint64
from typing import ClassVar


class RtMetrics(ctypes.Structure):
    _fields_: ClassVar = [
        ("rmx_locks", c_uint32),
        ("rmx_mtu", c_uint32),
        ("rmx_hopcount", c_uint32),
        ("rmx_expire", c_int32),
        ("rmx_recvpipe", c_uint32),
        ("rmx_sendpipe", c_uint32),
        ("rmx_ssthresh", c_uint32),
        ("rmx_rtt", c_uint32),
        ("rmx_rttvar", c_uint32),
        ("rmx_pksent", c_uint32),
        ("rmx_filler", c_uint32 * 4),
    ]


class RtMsghdr(ctypes.Structure):
    _fields_: ClassVar = [
        ("rtm_msglen", c_uint16),
        ("rtm_version", c_uint8),
        ("rtm_type", c_uint8),
        ("rtm_index", c_uint16),
        ("rtm_flags", c_int32),
        ("rtm_addrs", c_int32),
        ("rtm_pid", c_int32),
        ("rtm_seq", c_int32),
        ("rtm_errno", c_int32),
        ("rtm_use", c_int32),
        ("rtm_inits", c_uint32),
        ("rtm_rmx", RtMetrics),
    ]


class RtMsghdr2(ctypes.Structure):
    _fields_: ClassVar = [
        ("rtm_msglen", c_uint16),
        ("rtm_version", c_uint8),
        ("rtm_type", c_uint8),
        ("rtm_index", c_uint16),
        ("rtm_flags", c_int32),
        ("rtm_addrs", c_int32),
        ("rtm_refcnt", c_int32),
        ("rtm_parentflags", c_int32),
        ("rtm_reserved", c_int32),
        ("rtm_use", c_int32),
        ("rtm_inits", c_uint32),
        ("rtm_rmx", RtMetrics),
    ]


class Timeval32(ctypes.Structure):
    _fields_: ClassVar = [("tv_sec", c_int32), ("tv_usec", c_int32)]


_CHARS = [
    ("ifi_type", c_uint8),
    ("ifi_typelen", c_uint8),
    ("ifi_physical", c_uint8),
    ("ifi_addrlen", c_uint8),
    ("ifi_hdrlen", c_uint8),
    ("ifi_recvquota", c_uint8),
    ("ifi_xmitquota", c_uint8),
    ("ifi_unused1", c_uint8),
    ("ifi_mtu", c_uint32),
    ("ifi_metric", c_uint32),
]
_COUNTERS = [
    "ifi_baudrate",
    "ifi_ipackets",
    "ifi_ierrors",
    "ifi_opackets",
    "ifi_oerrors",
    "ifi_collisions",
    "ifi_ibytes",
    "ifi_obytes",
    "ifi_imcasts",
    "ifi_omcasts",
    "ifi_iqdrops",
    "ifi_noproto",
]
_END = [("ifi_recvtiming", c_uint32), ("ifi_xmittiming", c_uint32), ("ifi_lastchange", Timeval32)]


class IfData(ctypes.Structure):
    _pack_ = 4
    _fields_: ClassVar = [
        *_CHARS,
        *((name, c_uint32) for name in _COUNTERS),
        *_END,
        ("ifi_unused2", c_uint32),
        ("ifi_hwassist", c_uint32),
        ("ifi_reserved1", c_uint32),
        ("ifi_reserved2", c_uint32),
    ]


class IfData64(ctypes.Structure):
    _pack_ = 4
    _fields_: ClassVar = [*_CHARS, *((name, c_uint64) for name in _COUNTERS), *_END]


_IFM = [
    ("ifm_msglen", c_uint16),
    ("ifm_version", c_uint8),
    ("ifm_type", c_uint8),
    ("ifm_addrs", c_int32),
    ("ifm_flags", c_int32),
    ("ifm_index", c_uint16),
]


class IfMsghdr(ctypes.Structure):
    _fields_: ClassVar = [*_IFM, ("ifm_data", IfData)]


class IfMsghdr2(ctypes.Structure):
    _fields_: ClassVar = [
        *_IFM,
        ("ifm_snd_len", c_int32),
        ("ifm_snd_maxlen", c_int32),
        ("ifm_snd_drops", c_int32),
        ("ifm_timer", c_int32),
        ("ifm_data", IfData64),
    ]


class IfaMsghdr(ctypes.Structure):
    _fields_: ClassVar = [
        ("ifam_msglen", c_uint16),
        ("ifam_version", c_uint8),
        ("ifam_type", c_uint8),
        ("ifam_addrs", c_int32),
        ("ifam_flags", c_int32),
        ("ifam_index", c_uint16),
        ("ifam_metric", c_int32),
    ]


class SockaddrIn(ctypes.Structure):
    _fields_: ClassVar = [
        ("sin_len", c_uint8),
        ("sin_family", c_uint8),
        ("sin_port", c_uint16),
        ("sin_addr", c_uint8 * 4),
        ("sin_zero", c_char * 8),
    ]


class SockaddrIn6(ctypes.Structure):
    _fields_: ClassVar = [
        ("sin6_len", c_uint8),
        ("sin6_family", c_uint8),
        ("sin6_port", c_uint16),
        ("sin6_flowinfo", c_uint32),
        ("sin6_addr", c_uint8 * 16),
        ("sin6_scope_id", c_uint32),
    ]


class SockaddrDl(ctypes.Structure):
    _fields_: ClassVar = [
        ("sdl_len", c_uint8),
        ("sdl_family", c_uint8),
        ("sdl_index", c_uint16),
        ("sdl_type", c_uint8),
        ("sdl_nlen", c_uint8),
        ("sdl_alen", c_uint8),
        ("sdl_slen", c_uint8),
        ("sdl_data", c_char * 12),
    ]


class CtlInfo(ctypes.Structure):
    """sys/kern_control.h:118-121"""

    _fields_: ClassVar = [("ctl_id", c_uint32), ("ctl_name", c_char * 96)]


_TCP_WORDS = [
    "tcpi_options",
    "tcpi_flags",
    "tcpi_rto",
    "tcpi_maxseg",
    "tcpi_snd_ssthresh",
    "tcpi_snd_cwnd",
    "tcpi_snd_wnd",
    "tcpi_snd_sbbytes",
    "tcpi_rcv_wnd",
    "tcpi_rttcur",
    "tcpi_srtt",
    "tcpi_rttvar",
    "tcpi_tfo",
]
_TCP_COUNTERS = [
    "tcpi_txpackets",
    "tcpi_txbytes",
    "tcpi_txretransmitbytes",
    "tcpi_rxpackets",
    "tcpi_rxbytes",
    "tcpi_rxoutoforderbytes",
    "tcpi_txretransmitpackets",
]


class InPktinfo(ctypes.Structure):
    """netinet/in.h:654-658"""

    _fields_: ClassVar = [
        ("ipi_ifindex", c_uint32),
        ("ipi_spec_dst", c_uint8 * 4),
        ("ipi_addr", c_uint8 * 4),
    ]


class In6Pktinfo(ctypes.Structure):
    """netinet6/in6.h:681-684"""

    _fields_: ClassVar = [("ipi6_addr", c_uint8 * 16), ("ipi6_ifindex", c_uint32)]


class TcpConnectionInfo(ctypes.Structure):
    """netinet/tcp.h:254-301; the bits about TCP Fast Open are one word."""

    _fields_: ClassVar = [
        ("tcpi_state", c_uint8),
        ("tcpi_snd_wscale", c_uint8),
        ("tcpi_rcv_wscale", c_uint8),
        ("__pad1", c_uint8),
        *((name, c_uint32) for name in _TCP_WORDS),
        *((name, c_uint64) for name in _TCP_COUNTERS),
    ]


class Icmp6Filter(ctypes.Structure):
    """netinet/icmp6.h:619-621"""

    _fields_: ClassVar = [("icmp6_filt", c_uint32 * 8)]
