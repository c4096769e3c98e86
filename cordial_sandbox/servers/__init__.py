"""Storage servers that the sandbox runs as delivery targets."""
