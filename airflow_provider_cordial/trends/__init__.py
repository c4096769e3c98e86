"""The delivered file as rows, and rows as tables and files."""
