#!/bin/bash
# byrnie between real programs: NSD, Knot, unbound and BIND for the DNS, Postfix and Exim as mail hosts, Postfix
# and Exim of several Debians as those who ask byrnie how mail must go, tlsrpt-reporter and parsedmarc for reports,
# swaks and smtp-source as clients. Packages of Debian and Python, in networks of their own; needs root.
#
#     ci/interop.sh [PROGRAM]     PROGRAM defaults to target/release/byrnie; INTEROP_ONLY names parts, and
#                                 INTEROP_POSTFIX a folder with more Postfixes (ci/postfix-root.sh)
#
# Prints one line for each assertion, and for each part how many passed and failed.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
byrnie=$(realpath "${1:-$here/../target/release/byrnie}")

# First life, in the ordinary network: install, then go on in namespaces of our own, where everything that is
# started ends with the script and no port is taken.
if [ -z "${INTEROP_WORK:-}" ]; then
    packages=(
        nsd unbound postfix swaks libnet-ssleay-perl ldnsutils bind9-dnsutils openssl curl python3
        iproute2 util-linux libgnutls-dane0 libidn12 libnsl2
        bind9 bind9-utils knot procps python3-dnspython python3-cryptography
        python3-venv faketime
    )
    INTEROP_WORK=$(mktemp -d)
    trap 'rm -rf "$INTEROP_WORK"' EXIT
    # Postfix and Exim read what lies below as users of their own.
    chmod 755 "$INTEROP_WORK"
    mkdir "$INTEROP_WORK/exim"
    . "$here/packages.sh"
    install_packages "${packages[@]}"
    apt-get update -qq
    # Debian lets only one mail server be installed; Exim is unpacked beside Postfix.
    (cd "$INTEROP_WORK/exim" && apt-get -o APT::Sandbox::User=root download -qq exim4-daemon-light)
    dpkg -x "$INTEROP_WORK"/exim/exim4-daemon-light_*.deb "$INTEROP_WORK/exim/root"
    # Others are unpacked into root folders. First Postfix: those of 3.10 and later can report.
    unpack "$INTEROP_WORK/postfix-3.10" trixie postfix
    # Old Debians leave the mirrors some day, and unstable goes on.
    unpack_if_there "$INTEROP_WORK/postfix-3.5" bullseye postfix
    unpack_if_there "$INTEROP_WORK/postfix-sid" sid postfix
    name_by_release "$INTEROP_WORK/postfix-sid"
    if [ -n "${INTEROP_POSTFIX:-}" ]; then
        cp -a "$INTEROP_POSTFIX"/postfix-3.* "$INTEROP_WORK/"
    fi
    unpack "$INTEROP_WORK/exim-trixie" trixie exim4-daemon-light
    unpack_if_there "$INTEROP_WORK/exim-sid" sid exim4-daemon-light
    # Who else counts sessions, reads reports, and verifies signatures.
    python3 -m venv "$INTEROP_WORK/venv"
    "$INTEROP_WORK/venv/bin/pip" install --quiet --no-cache-dir tlsrpt-reporter==0.6.0 parsedmarc==11.1.0 dkimpy==1.1.8
    export INTEROP_WORK
    outcome=0
    (cd "$here/.." && cargo build --quiet --release --locked -p byrnie-differential)
    for part in ${INTEROP_ONLY:-mail beside public reports dnssec differential}; do
        INTEROP_PART=$part unshare --net --mount --pid --fork --mount-proc "$0" "$byrnie" || outcome=1
    done
    exit "$outcome"
fi

work=$INTEROP_WORK
exim_root=$work/exim/root
pids=()
ip link set lo up

. "$here/interop/lib.sh"
. "$here/interop/zones.sh"
. "$here/interop/peers.sh"
. "$here/interop/suite.sh"
. "$here/interop/beside.sh"
. "$here/interop/public.sh"
. "$here/interop/reports.sh"
. "$here/interop/dnssec.sh"
. "$here/interop/differential.sh"

# The setting up speaks only if it fails.
quietly() {
    if ! "$@" >"$work/setup.log" 2>&1; then
        echo "cannot set up: $*"
        tail -n 30 "$work/setup.log"
        exit 1
    fi
}

# Each part runs in namespaces of its own; see the list above.
part_mail() {
    quietly make_certificates
    quietly make_zones
    quietly make_sts_zones
    quietly make_exim_user
    start_nsd
    start_unbound
    quietly start_postfix
    start_exim

    assert 'NSD serves the root' \
        eventually 20 says 'SOA' dig @127.0.0.10 . SOA
    assert 'unbound validates the tree' \
        eventually 20 says 'flags:.* ad' dig +dnssec @127.0.0.53 _25._tcp.mx.postfix.test TLSA
    assert 'Postfix answers' \
        eventually 20 says '^<. +250.*STARTTLS' swaks --server 127.0.0.21 --quit-after EHLO
    assert 'Exim answers' \
        eventually 20 says '^<. +250.*STARTTLS' swaks --server 127.0.0.22 --quit-after EHLO

    for mode in validate trust-ad; do
        suite "$mode"
    done
}

part_beside() {
    quietly make_certificates
    quietly make_zones
    quietly make_sts_zones
    start_nsd
    start_unbound
    quietly start_postfix
    beside_suite
}

part_public() {
    quietly make_certificates
    quietly make_zones
    quietly make_sts_zones
    quietly make_exim_user
    printf 'nameserver 127.0.0.53\noptions edns0 trust-ad\n' >"$work/resolv.conf"
    start_nsd
    start_unbound
    quietly start_postfix
    start_exim
    start_policy_host
    public_suite
}

part_reports() {
    quietly make_certificates
    quietly make_dkim_key
    quietly make_zones
    quietly make_sts_zones
    start_nsd
    start_unbound
    quietly start_postfix
    reports_suite
}

part_dnssec() {
    quietly "$here/dnssec-bed/make.py" "$work/bed"
    quietly "$here/dnssec-bed/start.sh" "$work/bed"
    dnssec_suite
}

part_differential() {
    differential_suite
}

"part_$INTEROP_PART"

printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
