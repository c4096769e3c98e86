"""The command line: ``airflow cordial``, a thin layer over what the operators use.

``definition`` names the commands and their options, and imports nothing else of this package: the ``airflow`` command
reads it at every start. Everything else is imported when a command runs.
"""
