# The contract of the warehouses against an account; tests/integration/test_docs.py checks the arguments.
# [START contract]
python scripts/test_warehouse.py connection.json --table scratch.cordial_contract --staging s3://bucket/prefix
# [END contract]
