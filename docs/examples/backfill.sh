# Backfills and limits; tests/integration/test_docs.py runs them.
# [START dry_run]
airflow backfill create --dag-id example_daily_backfill --from-date 2026-01-01 --to-date 2026-02-01 --dry-run
# [END dry_run]
# [START create]
airflow backfill create --dag-id example_daily_backfill --from-date 2026-01-01 --to-date 2026-02-01
# [END create]
# [START pool]
airflow pools set cordial 16 "Exports that run in Cordial" --include-deferred
# [END pool]
# [START resume]
airflow dags trigger example_audience_trends --conf '{"cordial_job_id": {"export": "6565f0a1b2c3d4e5f6a7b8c9"}}'
# [END resume]
