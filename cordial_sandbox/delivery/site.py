"""Where a delivery starts, and which hosts it may connect to."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from cordial_sandbox.delivery.errors import DeliveryError

LOOPBACK = ("localhost", "127.0.0.0/8", "::1")


@dataclass(frozen=True, slots=True)
class Site:
    """The sandbox as the origin of deliveries.

    :param data: its own folder.
    :param deliver_to: the hosts that it may connect to besides this machine: names, which may have ``*``, addresses,
        and networks.
    """

    data: Path
    deliver_to: Sequence[str] = ()

    def permits(self, host: str) -> bool:
        """Return whether it may connect to a host; a name is not resolved, it must be permitted itself."""
        name = host.lower().strip("[]")
        return any(_matches(name, pattern.lower()) for pattern in (*LOOPBACK, *self.deliver_to))

    def check(self, host: str) -> None:
        """Raise an error if it must not connect to a host.

        :raises DeliveryError: it must not.
        """
        if not self.permits(host):
            msg = f"The sandbox may not connect to {host!r}: start it with --deliver-to {host}"
            raise DeliveryError(msg)


def _matches(name: str, pattern: str) -> bool:
    try:
        network = ipaddress.ip_network(pattern, strict=False)
    except ValueError:
        return fnmatchcase(name, pattern)
    try:
        return ipaddress.ip_address(name) in network
    except ValueError:
        return False
