"""Apache Airflow provider for Cordial."""

__version__ = "0.1.0"
