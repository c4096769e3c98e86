"""Links from a task in Airflow's UI to Cordial."""

from airflow_provider_cordial.links.job import CordialJobLink

__all__ = ["CordialJobLink"]
