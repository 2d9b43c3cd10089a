# byrnie beside other mail servers: Postfix asks it how mail must go, for ci/interop.sh.
#
# 127.0.0.23:443  the policy host        127.0.0.30:8461  byrnie, as `serve --only policyd`
#
# The settings of Postfix are those that docs/postfix.md shows, taken from there.

# documented FILE NAME: the fenced block that follows the line `<!-- ci: NAME -->`.
documented() {
    awk -v marker="<!-- ci: $2 -->" '
        $0 == marker { found = 1; next }
        found && /^```/ { if (inside) exit; inside = 1; next }
        inside { print }' "$here/../docs/$1"
}

# MTA-STS domains, as NAME:MODE:MX:MX-IN-THE-POLICY; the certificate behind every MX is that of mx.sts.test.
sts_domains=(
    sts:enforce:mx.sts.test:mx.sts.test
    sts-wrong:enforce:mx.sts-wrong.test:mx.sts-wrong.test
    sts-hijacked:enforce:mx.sts.test:mx.sts-hijacked.test
    sts-testing:testing:mx.sts-testing.test:mx.sts-testing.test
)

# Zones that are not signed, one for each MTA-STS domain, and their policies; those of public.test and locked.test
# byrnie itself is to publish.
make_sts_zones() {
    local row name mode mx policy_mx
    for name in public locked; do
        {
            recipient_zone "$name.test" 127.0.0.21
            printf 'mta-sts A 127.0.0.31\n_mta-sts TXT "v=STSv1; id=1"\n'
        } >"$work/zones/$name.test.signed"
    done
    mkdir -p "$work/policies"
    for row in "${sts_domains[@]}"; do
        IFS=: read -r name mode mx policy_mx <<<"$row"
        {
            zone_head "$name.test."
            printf '@ MX 10 %s.\nmx A 127.0.0.21\nmta-sts A 127.0.0.23\n_mta-sts TXT "v=STSv1; id=1"\n' "$mx"
        } >"$work/zones/$name.test.signed"
        printf 'version: STSv1\r\nmode: %s\r\nmx: %s\r\nmax_age: 86400\r\n' "$mode" "$policy_mx" \
            >"$work/policies/mta-sts.$name.test"
    done
}

start_policy_host() {
    python3 "$here/interop/policy_host.py" 127.0.0.23 "$work/tls/policy.test.pem" "$work/tls/policy.test.key" \
        "$work/policies" >"$work/policy-host.log" 2>&1 &
    pids+=($!)
    # Who asks it too early takes a domain for one without a policy, for a while.
    quietly eventually 20 curl -sf --cacert "$work/tls/ca.pem" --resolve mta-sts.sts.test:443:127.0.0.23 \
        https://mta-sts.sts.test/.well-known/mta-sts.txt
}

start_policyd() {
    mkdir -p "$work/spool-beside"
    cat >"$work/beside.toml" <<CONF
version = 1
hostname = "byrnie.test"
[policyd]
socketmap = ["127.0.0.1:8461"]
[dns]
servers = ["127.0.0.53:53"]
trust_anchor_file = "zones/root.ds"
[tls]
ca_file = "tls/ca.pem"
[queue]
spool = "spool-beside"
[metrics]
listen = "off"
CONF
    "$byrnie" serve --only policyd --config "$work/beside.toml" 2>"$work/policyd.log" &
    pids+=($!)
}

# start_sender NAME ROOT SNIPPET…: a Postfix in a root folder of its own ("" is the system's) that only sends.
start_sender() {
    local name=$1 root=$2 base=$work/sender-$1
    shift 2
    mkdir -p "$base/etc" "$base/queue" "$base/data" "$root/etc" "$root$work"
    if [ -n "$root" ]; then
        mount --rbind "$work" "$root$work"
        mount --rbind /dev "$root/dev"
        mount -t proc proc "$root/proc"
        for file in passwd group resolv.conf; do
            cp -L "/etc/$file" "$root/etc/$file"
        done
        printf '127.0.0.1 localhost\n' >"$root/etc/hosts"
        printf 'smtp 25/tcp\n' >"$root/etc/services"
    fi
    local folder
    for folder in active bounce corrupt defer deferred flush hold incoming private saved trace; do
        mkdir -p "$base/queue/$folder"
        chown postfix "$base/queue/$folder"
    done
    mkdir -p "$base/queue/maildrop" "$base/queue/public" "$base/queue/pid"
    chown postfix "$base/data" "$base/queue/maildrop" "$base/queue/public"
    {
        cat <<CONF
compatibility_level = 2
queue_directory = $base/queue
data_directory = $base/data
daemon_directory = /usr/lib/postfix/sbin
command_directory = /usr/sbin
maillog_file_prefixes = $work
maillog_file = $base/mail.log
myhostname = sender.test
mydestination =
alias_maps =
inet_protocols = ipv4
inet_interfaces = 127.0.0.1
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
default_database_type = static
smtp_tls_session_cache_database =
smtp_tls_CAfile = $work/tls/ca.pem
minimal_backoff_time = 300s
CONF
        local snippet
        for snippet in "$@"; do
            documented postfix.md "$snippet"
        done
    } >"$base/etc/main.cf"
    # A port for each, since all share one network.
    {
        printf '127.0.0.1:%s inet n - n - - smtpd\n' "$sender_port"
        sed -e '/ inet /d' -e '/^virtual /d' "$work/postfix/etc/master.cf"
        printf 'smtp unix - - n - - smtp\n'
    } >"$base/etc/master.cf"
    local enter=()
    [ -z "$root" ] || enter=(chroot "$root")
    # What Postfix's own script says in its place, without a shell.
    MAIL_CONFIG=$base/etc "${enter[@]}" /usr/lib/postfix/sbin/master -c "$base/etc" -d \
        >"$base/start.log" 2>&1 &
    pids+=($!)
}

# goes NAME DOMAIN STATUS: what the sender's log says of mail to the domain.
goes() {
    grep -qE "to=<$1-inbox@$2>.*status=$3" "$work/sender-$1/mail.log"
}

hand_in() {
    swaks --server 127.0.0.1 --port "$1" --helo client.test --from '<>' --to "$2" --body "token $3"
}

# beside NAME: good destinations get their mail, attacked ones wait.
beside() {
    local name=$1 row domain status
    assert "$name answers" eventually 20 says '^<. +250' swaks --server 127.0.0.1 --port "$sender_port" --quit-after EHLO
    for row in "${destinations[@]}"; do
        domain=${row%%:*}
        assert "$name takes mail to $domain" hand_in "$sender_port" "$name-inbox@$domain" "$name-$domain"
    done
    for row in "${destinations[@]}"; do
        domain=${row%%:*} status=${row#*:}
        assert "$name: mail to $domain is $status" eventually 30 goes "$name" "$domain" "$status"
    done
}

# What becomes of mail to each domain.
destinations=(
    postfix.test:sent wrong-postfix.test:deferred authority.test:sent unsigned.test:sent
    sts.test:sent sts-wrong.test:deferred sts-hijacked.test:deferred sts-testing.test:sent
)

beside_suite() {
    echo 'nameserver 127.0.0.53' >"$work/resolv.conf"
    mount --bind "$work/resolv.conf" "$(realpath /etc/resolv.conf)"
    start_policy_host
    start_policyd
    assert 'byrnie answers an MTA that asks' eventually 20 says '^secure match=mx.sts.test servername=hostname' \
        postmap -q sts.test socketmap:inet:127.0.0.1:8461:postfix
    assert 'byrnie says dane-only where DANE holds' says '^dane-only' \
        postmap -q postfix.test socketmap:inet:127.0.0.1:8461:postfix
    other_postfix postfix-3.7 '' 2537 postfix
    other_postfix postfix-3.5 "$work/bullseye" 2535 postfix
    other_postfix postfix-3.10 "$work/trixie" 2540 postfix-tlsrpt
    other_postfix postfix-3.11 "$work/sid" 2541 postfix-tlsrpt
}

# other_postfix NAME ROOT PORT SNIPPET: that Postfix, with the documented settings, between the destinations.
other_postfix() {
    local enter=()
    [ -z "$2" ] || enter=(chroot "$2")
    assert "$1 is what it is called" says "mail_version = ${1#postfix-}" "${enter[@]}" /usr/sbin/postconf -d mail_version
    sender_port=$3
    quietly start_sender "$1" "$2" main "$4"
    beside "$1"
}
