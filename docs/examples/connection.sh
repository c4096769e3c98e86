# The ways to define the connection; tests/integration/test_docs.py runs them.
# [START cli]
airflow connections add cordial_default --conn-type cordial \
    --conn-host "$CORDIAL_HOST" \
    --conn-password "$CORDIAL_API_KEY" \
    --conn-extra '{"timezone": "America/New_York"}'
# [END cli]
# [START test]
AIRFLOW__CORE__TEST_CONNECTION=Enabled airflow connections test cordial_default
# [END test]
# [START env]
export AIRFLOW_CONN_CORDIAL_DEFAULT='{
    "conn_type": "cordial",
    "host": "https://api.usw2.cordial.io",
    "password": "the raw API key",
    "extra": {"timezone": "America/New_York"}
}'
# [END env]
# [START secrets]
export AIRFLOW__SECRETS__BACKEND=airflow.secrets.local_filesystem.LocalFilesystemBackend
export AIRFLOW__SECRETS__BACKEND_KWARGS='{"connections_file_path": "/etc/airflow/connections.yaml"}'
# [END secrets]
