"""Transfers from Cordial to other systems."""
