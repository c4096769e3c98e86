"""Why a delivery did not succeed."""

from __future__ import annotations


class DeliveryError(Exception):
    """A delivery that did not succeed; the text is the job's reason."""
