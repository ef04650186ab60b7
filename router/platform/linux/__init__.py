"""Linux: /dev/net/tun, rtnetlink, SO_BINDTODEVICE."""
