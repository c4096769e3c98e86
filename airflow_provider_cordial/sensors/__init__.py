"""Sensors for Cordial."""
