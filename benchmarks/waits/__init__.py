"""The parts of ``wait.py`` and ``rate_limit.py``: the contenders, the services they poll, and the figures."""
