"""Hooks for Cordial."""
