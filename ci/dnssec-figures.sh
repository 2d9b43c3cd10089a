#!/bin/bash
# What DNSSEC costs, measured on this machine: signatures of each algorithm, whole validations, and validated
# lookups and memory beside libunbound over the same upstream. For Debian, as root: it installs what it needs
# and runs in a network namespace of its own.
#
#     ci/dnssec-figures.sh [RUNS]     RUNS of each kind of lookups, of which the medians count; 5 by default
#
# A shared machine is noisy: the ratios mean more than the rates, and processor time more than either.
set -euo pipefail

cd "$(dirname "$0")/.."
runs=${1:-5}

# Prints the packages of those given that are not installed.
missing() {
    local package
    for package in "$@"; do
        dpkg -s "$package" >/dev/null 2>&1 || echo "$package"
    done
}

mapfile -t packages < <(missing build-essential iproute2 libunbound-dev util-linux)
if [ ${#packages[@]} -gt 0 ]; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"
fi

benches=(-p byrnie-dnssec --bench signatures -p byrnie-net --bench lookups)
cargo bench --locked "${benches[@]}" --no-run

# Runs one bench where there is nothing but a loopback interface.
alone() {
    unshare --net bash -c 'ip link set lo up && exec "$@"' bash cargo bench --locked --offline "$@"
}

alone -p byrnie-dnssec --bench signatures
alone -p byrnie-net --bench lookups
printf '\n%s, %s cores, load %s\n%s, libunbound %s\n' \
    "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" "$(nproc)" "$(cut -d ' ' -f 1 /proc/loadavg)" \
    "$(rustc --version)" "$(dpkg-query --show --showformat '${Version}' libunbound-dev)"
alone -p byrnie-net --bench lookups -- figures "$runs"
