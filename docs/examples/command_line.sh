# The commands of docs/command-line.md; tests/integration/test_docs.py runs them in this order.

# [START fill]
airflow cordial fill --warehouse-conn-id warehouse --table audience_trends --create-table \
    --audience opened_last_30_days --audience purchased_last_30_days \
    --first-day 2026-10-28 --last-day 2026-11-08 \
    --destination sftp conn_id=sftp_default path=exports
# [END fill]

# [START doctor]
airflow cordial doctor --warehouse-conn-id warehouse --table audience_trends \
    --destination sftp conn_id=sftp_default path=exports
# [END doctor]

# [START export]
airflow cordial export --audience opened_last_30_days --start 2026-11-10 --end 2026-11-11 \
    --destination sftp conn_id=sftp_default path=exports --wait > export.json
# [END export]

# [START jobs]
airflow cordial jobs list --status Done --limit 10
# [END jobs]

# [START job]
airflow cordial jobs show "$JOB_ID"
airflow cordial jobs wait "$JOB_ID" --timeout 600
# [END job]

# [START other_versions]
python -m airflow_provider_cordial.cli jobs list
# [END other_versions]

# [START gaps]
airflow cordial gaps --warehouse-conn-id warehouse --table audience_trends \
    --audience opened_last_30_days --audience new_subscribers \
    --first-day 2026-11-04 --last-day 2026-11-12
# [END gaps]

# [START plan]
airflow cordial plan --warehouse-conn-id warehouse --table audience_trends \
    --audience opened_last_30_days --audience new_subscribers \
    --first-day 2026-11-04 --last-day 2026-11-12 --look-back 2
# [END plan]

# [START heatmap]
airflow cordial heatmap --warehouse-conn-id warehouse --table audience_trends \
    --audience opened_last_30_days --audience new_subscribers \
    --first-day 2026-10-28 --last-day 2026-11-12
# [END heatmap]

# [START page]
airflow cordial heatmap --warehouse-conn-id warehouse --table audience_trends \
    --audiences-file audiences.txt --first-day 365 --html trends.html
# [END page]
