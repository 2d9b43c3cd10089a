#!/bin/bash
# How long a decision takes on this machine where answers of the DNS do, and of how many crates byrnie is
# made. How fast mail is relayed, and how much memory that takes, is measured by bench/. Loopback only; needs
# curl and swaks.
#
#     ci/figures.sh [PROGRAM]     PROGRAM defaults to target/release/byrnie
#
# A shared machine is noisy: run it several times and quote the medians.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
byrnie=$(realpath "${1:-$here/../target/release/byrnie}")
work=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT

# Where the gateway is, on a loopback address and high ports. Where its mail goes, nobody listens.
relay=127.77.0.1:20025
mx_port=20026
metrics=127.77.0.1:20080

# Waits until a command succeeds, a minute at most.
until_true() {
    local end=$((SECONDS + 60))
    until "$@"; do
        [ $SECONDS -lt $end ] || { echo "gave up waiting for: $*" >&2; exit 1; }
        sleep 0.05
    done
}

# The value of one metric at an address; 0 while there is none.
metric() {
    curl -fs "http://$1/metrics" | awk -v name="$2" '$1 == name { value = $2 } END { print value + 0 }'
}

# Whether a metric has a value.
metric_is() { [ "$(metric "$1" "$2")" = "$3" ]; }

# Raises a lab that goes on, and reads where its parts are.
raise_lab() {
    "$byrnie" lab --keep --scenario dane-ee --scenario dane-ta --scenario sts-enforce \
        --dns-delay "$1" >"$work/lab" 2>&1 &
    pids+=($!)
    until_true grep -q '/metrics' "$work/lab"
    read -r -a lab_options < <(sed -n 's/^ *policy DOMAIN //p' "$work/lab")
}

# Sends one message to the gateway, waits for its decision, and prints how many milliseconds that took.
decision_ms() {
    local before count
    before=$(metric "$metrics" byrnie_decision_seconds_sum)
    count=$(metric "$metrics" byrnie_decision_seconds_count)
    swaks --server "${relay%:*}" --port "${relay##*:}" --from you@home.test --to "user@$1" >/dev/null
    until_true metric_is "$metrics" byrnie_decision_seconds_count $((count + 1))
    metric "$metrics" byrnie_decision_seconds_sum |
        awk -v before="$before" '{ printf "%.2f", ($1 - before) * 1000 }'
}

# Starts a gateway of its own, which asks the lab's DNS.
serve() {
    cat >"$work/byrnie.toml" <<END
version = 1
hostname = "relay.home.test"
[smtp]
listen = ["$relay"]
[dns]
servers = ["${lab_options[1]}"]
trust_anchor_file = "${lab_options[3]}"
[delivery]
mx_port = $mx_port
[queue]
spool = "$work/spool"
[log]
level = "warn"
[metrics]
listen = "$metrics"
END
    "$byrnie" serve --config "$work/byrnie.toml" 2>"$work/serve.log" &
    pids+=($!)
    until_true curl -fs -o "$work/ready" "http://$metrics/readyz"
}

raise_lab 20ms
serve
echo "decision, 20 ms for each answer of the DNS (just started; another domain; MTA-STS):"
for domain in dane-ee.test dane-ta.test sts-good.test; do
    echo "  $domain: $(decision_ms "$domain") ms"
done

printf 'dependencies: %s crates (%s with the lab and all tests)\n' \
    "$(cargo tree --manifest-path "$here/../Cargo.toml" -p byrnie -e normal --prefix none | sed 's/ (.*//' | sort -u | grep -vc '^byrnie')" \
    "$(cargo tree --manifest-path "$here/../Cargo.toml" --workspace -e normal,build,dev --prefix none | sed 's/ (.*//' | sort -u | grep -vc '^byrnie')"
