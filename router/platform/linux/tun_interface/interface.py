"""The parts of the TUN's interface in the order in which they depend on each other."""

from __future__ import annotations

from collections.abc import Sequence

from router.platform.base.routes import ReconcileResult
from router.platform.linux.netlink.addresses import Address
from router.platform.linux.tun import LinuxTun
from router.platform.linux.tun_interface.address_routes import AddressRoutes
from router.platform.linux.tun_interface.addresses import TunAddresses
from router.platform.linux.tun_interface.link import TunLink
from router.platform.linux.tun_interface.settings import configure_settings, restore_settings


class TunInterface:
    """Of `tun`, with `addresses`.

    impaired: the IP versions that lack a setting or an address since the last `restore`, so that
    the kernel may refuse routes.
    """

    def __init__(self, tun: LinuxTun, addresses: Sequence[Address]) -> None:
        self.impaired: set[int] = set()
        self._link = TunLink(tun)
        self._addresses = TunAddresses(tun.index, addresses)
        self.address_routes = AddressRoutes(tun.index, self._addresses)

    def configure(self) -> None:
        """Settings, addresses, up. Raises PlatformError, OSError."""
        configure_settings(self._link.present().name)
        self._link.configure()
        self._addresses.configure()
        self._link.set_up()

    def restore(self) -> ReconcileResult:
        """Whatever differs from what `configure` made, but for the routes. Raises PlatformError if
        the TUN is gone, OSError."""
        result = ReconcileResult.nothing()
        self._link.restore(result)
        settings = restore_settings(self._link.present().name, result)
        lacking = self._addresses.restore(
            self._link.present().addresses,
            result,
            remove_generated=settings.generates_addresses,
        )
        self.impaired = settings.failed | lacking
        if self._link.restore_up(result):
            self._addresses.new.update(self._addresses.configured)
        return result
