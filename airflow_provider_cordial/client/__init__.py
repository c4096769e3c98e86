"""The v2 API without Airflow's tasks."""
