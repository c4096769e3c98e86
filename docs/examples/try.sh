# The two commands of the README; `make playground` is what tests/browser walks through.
# [START clone]
git clone https://github.com/airflow-provider-cordial/airflow-provider-cordial && cd airflow-provider-cordial
# [END clone]
# [START playground]
make playground
# [END playground]
