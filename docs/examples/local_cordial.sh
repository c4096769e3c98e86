# The commands of the page "The local Cordial"; tests/unit/cordial_sandbox/test_command_line.py runs them.
# [START commands]
cordial-sandbox jobs                # the newest jobs; with an id, one of them
cordial-sandbox faults add get_job answer --status 503 --times 2
cordial-sandbox faults list
cordial-sandbox export-state state.json
cordial-sandbox reset
cordial-sandbox import-state state.json
# [END commands]
# [START seed]
cordial-sandbox seed --audiences 200 --since 2024-01-01 > accounts.yaml
cordial-sandbox seed --check accounts.yaml --json > accounts.json
# [END seed]
