# The commands of the five-minute start; scripts/first_success.py runs them one after another.
# [START install]
pip install 'airflow-provider-cordial[sandbox,sqlite]'
# [END install]
# [START sandbox]
cordial-sandbox serve --data ./cordial &
# [END sandbox]
# [START airflow]
airflow db migrate
# [END airflow]
# [START connections]
airflow connections import ./cordial/airflow-connections.json
airflow connections add warehouse --conn-type sqlite --conn-host "$PWD/warehouse.db"
# [END connections]
# [START dag]
mkdir -p "${AIRFLOW_HOME:=$HOME/airflow}/dags" && cp cordial_trends.py "$AIRFLOW_HOME/dags/"
# [END dag]
# [START run]
airflow dags test cordial_trends
# [END run]
# [START read]
python -c 'import sqlite3; print(*sqlite3.connect("warehouse.db").execute("SELECT * FROM audience_trends"), sep="\n")'
# [END read]
