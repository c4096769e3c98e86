"""Cordial's v2 API without Airflow's tasks: requests, answers, pages, rate limits, and retries."""
