"""Errors of deliveries."""

from __future__ import annotations


class DeliveryError(Exception):
    """A failed delivery; the message becomes the job's reason."""
