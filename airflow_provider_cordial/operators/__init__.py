"""Operators for Cordial."""
