"""The parts of ``wait.py`` and ``rate_limit.py``: what waits, what it asks, and what is measured meanwhile."""
