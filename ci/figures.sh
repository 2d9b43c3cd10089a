#!/bin/bash
# The figures of the README, measured on this machine: how long a decision takes, how fast mail is relayed,
# how much memory that needs. Loopback only; needs curl, swaks and Postfix's smtp-source and smtp-sink.
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

# Where mail is relayed to and from, on loopback addresses and high ports.
relay=127.77.0.1:20025
sink=127.77.0.2
sink_port=20026
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
mx_port = $sink_port
max_deliveries_per_domain = 50
[queue]
spool = "$work/spool"
[log]
level = "warn"
[metrics]
listen = "$metrics"
END
    "$byrnie" serve --config "$work/byrnie.toml" 2>"$work/serve.log" &
    serve_pid=$!
    pids+=("$serve_pid")
    until_true curl -fs -o "$work/ready" "http://$metrics/readyz"
}

# Sends messages of one size to the sink, through the gateway.
source_messages() {
    smtp-source -s 20 -m "$1" -l "$2" -f you@home.test -t "user@[$sink]" "$relay"
}

# Relays messages of one size and prints the rates.
relay_rate() {
    local messages=$1 size=$2 started accepted done_at cpu_before cpu_after delivered_before
    local delivered='byrnie_attempts_total{requirement="opportunistic",result="delivered"}'
    delivered_before=$(metric "$metrics" "$delivered")
    cpu_before=$(cpu_ticks)
    started=$(date +%s.%N)
    source_messages "$messages" "$size"
    accepted=$(date +%s.%N)
    until_true metric_is "$metrics" "$delivered" $((delivered_before + messages))
    done_at=$(date +%s.%N)
    cpu_after=$(cpu_ticks)
    awk -v n="$messages" -v size="$size" -v a="$started" -v b="$accepted" -v c="$done_at" \
        -v ticks=$((cpu_after - cpu_before)) -v hertz="$(getconf CLK_TCK)" 'BEGIN {
        printf "relay, %d octets: %d messages, %.0f/s accepted, %.0f/s delivered, %.2f s of CPU per 1,000\n",
            size, n, n / (b - a), n / (c - a), ticks / hertz / n * 1000 }'
}

# The processor time of the gateway so far, in ticks of the clock.
cpu_ticks() { awk '{ print $14 + $15 }' "/proc/$serve_pid/stat"; }

# The resident memory of the gateway, in MiB.
memory() { awk '/VmRSS/ { printf "%.1f MiB", $2 / 1024 }' "/proc/$serve_pid/status"; }

raise_lab 20ms
serve
idle=$(memory)
echo "decision, 20 ms for each answer of the DNS (just started; another domain; again; MTA-STS; again):"
for domain in dane-ee.test dane-ta.test dane-ee.test sts-good.test sts-good.test; do
    echo "  $domain: $(decision_ms "$domain") ms"
done

echo "memory at idle: $idle"
"$byrnie" queue remove --all --config "$work/byrnie.toml" >/dev/null
# With nobody listening there, everything waits.
source_messages 1000 1024
until_true metric_is "$metrics" 'byrnie_queue_deliveries{state="deferred"}' 1000
echo "memory at 1,000 queued messages: $(memory)"
"$byrnie" queue remove --all --config "$work/byrnie.toml" >/dev/null
until_true metric_is "$metrics" byrnie_queue_messages 0

smtp-sink -u nobody "$sink:$sink_port" 200 &
pids+=($!)
for size in 1024 76800; do
    relay_rate 5000 "$size"
done

printf 'dependencies: %s crates (%s with the lab and all tests)\n' \
    "$(cargo tree --manifest-path "$here/../Cargo.toml" -p byrnie -e normal --prefix none | sed 's/ (.*//' | sort -u | grep -vc '^byrnie')" \
    "$(cargo tree --manifest-path "$here/../Cargo.toml" --workspace -e normal,build,dev --prefix none | sed 's/ (.*//' | sort -u | grep -vc '^byrnie')"
