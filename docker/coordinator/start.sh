# Submits the run, follows its log, shows its table; exit status 0 only when Flower calls the run completed
# (the exit status of flwr does not say how a run ended). The run's own deadlines limit the wait.
set -eu
cd "$(dirname "$0")"
mkdir -p "$FLWR_HOME"
cp flower.toml "$FLWR_HOME/config.toml"
run=$(flwr run /app compose --run-config "$PWD/run.toml" --format json |
    python -c 'import json, sys; print(json.load(sys.stdin)["run-id"])')
flwr log "$run" compose # on a busy machine this may break off; the run goes on
state=
while [ "${state%finished*}" = "$state" ]; do
    sleep 2
    state=$(flwr list compose --run-id "$run" --format json)
done
pfedsam report /runs/compose
[ "${state%finished:completed*}" != "$state" ]
