#!/bin/bash
# Starts the servers of a DNSSEC bed, or the resolvers anew with empty caches.
#
#     start.sh DIRECTORY              all, and waits until they answer
#     start.sh DIRECTORY resolvers    ends unbound and BIND and starts them again
#
# Needs root for port 53 of 127.53.0.x. Everything ends with the namespace that it is started in; outside of
# one, end the processes by the .pid files below DIRECTORY/run.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
bed=$(realpath "$1")
cd "$bed"

# Ends a process by its file, and waits until it is gone.
end() {
    local file=$1 pid
    [ -f "$file" ] || return 0
    pid=$(cat "$file")
    kill "$pid" 2>/dev/null || true
    for _ in $(seq 100); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    rm -f "$file"
}

if [ "${2:-}" = resolvers ]; then
    for resolver in unbound unbound-validating named; do
        end "run/$resolver.pid"
    done
else
    for server in root leaf leaf-below; do
        nsd -c "conf/nsd-$server.conf"
    done
    mkdir -p run/knotdb
    knotd -d -c "$bed/conf/knot.conf"
    "$here/misbehave.py" "$bed" >run/misbehave.log 2>&1 &
fi
unbound -c conf/unbound-validating.conf
unbound -c conf/unbound.conf
named -c "$bed/conf/named.conf"

# One question to each; the resolvers are asked for what no question of the bed asks for.
is_up() {
    dig +time=1 +tries=1 +short "$@" SOA 2>/dev/null | grep -q '^[^;]'
}
deadline=$((SECONDS + 30))
for server in '@127.53.0.1 .' '@127.53.0.2 lab.' '@127.53.0.3 good-p256.lab.' '@127.53.0.4 c.dsnx.lab.' \
    '@127.53.0.66 blacklies.lab.' '@127.53.0.53 .' '@127.53.0.54 .' '-p 5355 @127.0.0.1 .'; do
    # shellcheck disable=SC2086  # an address and a name
    until is_up $server; do
        if [ "$SECONDS" -ge "$deadline" ]; then
            echo "no answer from $server: see the logs below $bed/run" >&2
            exit 1
        fi
        sleep 0.1
    done
done
