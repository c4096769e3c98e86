"""Wait for jobs."""
