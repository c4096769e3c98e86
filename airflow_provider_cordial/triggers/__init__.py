"""Triggers for Cordial."""
