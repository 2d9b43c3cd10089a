# byrnie beside other mail servers: Postfix asks it how mail must go, and tells it how it went, for ci/interop.sh.
#
# 127.0.0.23:443  the policy host        127.0.0.1:8461  byrnie, as `serve --only policyd`
# 127.0.0.24:25   a host whose STARTTLS somebody strips
# 127.0.0.1:25NN  Postfix 3.NN, which asks, sends and reports
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
    sts-stripped:enforce:mx.sts-stripped.test:mx.sts-stripped.test
)

# Zones that are not signed, one for each MTA-STS domain, and their policies; those of public.test and locked.test
# byrnie itself is to publish.
make_sts_zones() {
    local row name mode mx policy_mx address
    for name in public locked; do
        {
            recipient_zone "$name.test" 127.0.0.21
            printf 'mta-sts A 127.0.0.31\n_mta-sts TXT "v=STSv1; id=1"\n'
        } >"$work/zones/$name.test.signed"
    done
    mkdir -p "$work/policies"
    for row in "${sts_domains[@]}"; do
        IFS=: read -r name mode mx policy_mx <<<"$row"
        address=127.0.0.21
        [ "$name" != sts-stripped ] || address=127.0.0.24
        {
            zone_head "$name.test."
            printf '@ MX 10 %s.\nmx A %s\nmta-sts A 127.0.0.23\n_mta-sts TXT "v=STSv1; id=1"\n' "$mx" "$address"
            reports_wanted "$name.test"
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

# What Postfix tells of its sessions goes to a byrnie that relays as well, and that has a spool of its own.
start_collector() {
    mkdir -p "$work/spool-collector"
    cat >"$work/collector.toml" <<CONF
version = 1
hostname = "byrnie.test"
[smtp]
listen = ["127.0.0.30:25"]
[dns]
servers = ["127.0.0.53:53"]
trust_anchor_file = "zones/root.ds"
[queue]
spool = "spool-collector"
[tlsrpt]
contact = "postmaster@byrnie.test"
collect = ["unix:$work/tlsrpt.sock"]
[metrics]
listen = "off"
CONF
    "$byrnie" serve --config "$work/collector.toml" 2>"$work/collector.log" &
    pids+=($!)
}

# furnish ROOT: what a program needs that chroot is to run in this folder.
furnish() {
    local root=$1 file
    mkdir -p "$root/etc" "$root$work"
    mount --rbind "$work" "$root$work"
    mount --rbind /dev "$root/dev"
    mount -t proc proc "$root/proc"
    for file in passwd group resolv.conf; do
        cp -L "/etc/$file" "$root/etc/$file"
    done
    printf '127.0.0.1 localhost\n' >"$root/etc/hosts"
    printf 'smtp 25/tcp\n' >"$root/etc/services"
}

# start_sender NAME ROOT PORT SNIPPET…: a Postfix in a root folder of its own ("" is the system's) that only sends.
start_sender() {
    local name=$1 root=$2 port=$3 base=$work/sender-$1
    shift 3
    mkdir -p "$base/etc" "$base/queue" "$base/data"
    [ -z "$root" ] || furnish "$root"
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
smtp_tls_session_cache_database = internal:sessions
smtp_tls_CAfile = $work/tls/ca.pem
minimal_backoff_time = 300s
CONF
        local snippet
        for snippet in "$@"; do
            documented postfix.md "$snippet"
        done | sed "s|/run/byrnie/tlsrpt\.sock|$work/tlsrpt.sock|"
    } >"$base/etc/main.cf"
    # A port for each, since all share one network.
    {
        printf '127.0.0.1:%s inet n - n - - smtpd\n' "$port"
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

# arrived_for ADDRESS: a mail host has a message for it.
arrived_for() {
    in_mailbox postfix "^Delivered-To: $1\$" || in_mailbox exim "^Envelope-to: $1\$"
}

# hand_in NAME SERVER PORT DOMAIN…: one message for an inbox of this name in each domain.
hand_in() {
    local name=$1 server=$2 port=$3
    shift 3
    local recipients=("${@/#/$name-inbox@}")
    swaks --server "$server" --port "$port" --helo client.test --from '<>' \
        --to "$(IFS=, && echo "${recipients[*]}")" --body "from $name"
}

# What becomes of mail to each domain.
destinations=(
    postfix.test:sent wrong-postfix.test:deferred stripped.test:deferred authority.test:sent unsigned.test:sent
    sts.test:sent sts-wrong.test:deferred sts-hijacked.test:deferred sts-stripped.test:deferred sts-testing.test:sent
)

beside_suite() {
    echo 'nameserver 127.0.0.53' >"$work/resolv.conf"
    mount --bind "$work/resolv.conf" "$(realpath /etc/resolv.conf)"
    start_policy_host
    start_policyd
    start_collector
    assert 'byrnie answers an MTA that asks' eventually 20 says '^secure match=mx.sts.test servername=hostname' \
        postmap -q sts.test socketmap:inet:127.0.0.1:8461:postfix
    assert 'byrnie says dane-only where DANE holds' says '^dane-only' \
        postmap -q postfix.test socketmap:inet:127.0.0.1:8461:postfix
    assert 'byrnie collects what Postfix tells' eventually 20 [ -S "$work/tlsrpt.sock" ]
    local release running=()
    for release in "${releases[@]}"; do
        if ! has_release "$release"; then
            printf 'not run: postfix-%s: no Debian at hand has it; see ci/postfix-root.sh\n' "$release"
            continue
        fi
        start_release "$release"
        running+=("$release")
    done
    # They all send at the same time.
    for release in "${running[@]}"; do
        follow "$release"
    done
    reports_of_postfix
    without_byrnie
}

# Those that the documentation speaks of. Debian 12 has 3.7; others lie in root folders, if they are there.
releases=(3.4 3.5 3.6 3.7 3.8 3.9 3.10 3.11)

# Those of them that tell of their sessions.
reporting_releases=(3.10 3.11)

has_release() {
    [ "$1" = 3.7 ] || [ -d "$work/postfix-$1" ]
}

port_of() {
    printf '25%02d' "${1#3.}"
}

# start_release RELEASE: that Postfix, with the documented settings, is given mail for all destinations.
start_release() {
    local release=$1 name=postfix-$1 root=$work/postfix-$1 port enter=() snippets=(main postfix)
    port=$(port_of "$release")
    if [ "$release" = 3.7 ]; then
        root=
    else
        enter=(chroot "$root")
    fi
    if [[ " ${reporting_releases[*]} " == *" $release "* ]]; then
        snippets=(main postfix-tlsrpt reports)
    fi
    assert "$name is what it is called" \
        says "mail_version = ${release//./\\.}\\." "${enter[@]}" /usr/sbin/postconf -d mail_version
    quietly start_sender "$name" "$root" "$port" "${snippets[@]}"
    assert "$name answers" eventually 20 says '^<. +250' swaks --server 127.0.0.1 --port "$port" --quit-after EHLO
    assert "$name takes mail to all destinations" hand_in "$name" 127.0.0.1 "$port" "${destinations[@]%:*}"
}

# follow RELEASE: good destinations get their mail, attacked ones wait, and no attacker has any.
follow() {
    local name=postfix-$1 row domain status
    for row in "${destinations[@]}"; do
        domain=${row%:*} status=${row#*:}
        assert "$name: mail to $domain is $status" eventually 30 goes "$name" "$domain" "$status"
        if [ "$status" = sent ]; then
            assert "$name: mail to $domain is there" eventually 20 arrived_for "$name-inbox@$domain"
        else
            assert "$name: mail to $domain is nowhere" not arrived_for "$name-inbox@$domain"
        fi
    done
}

# What byrnie counts of their sessions. The second one with postfix.test resumes the TLS session of the first.
reports_of_postfix() {
    local release name row domain policy outcome sessions why reporting=0
    for release in "${reporting_releases[@]}"; do
        has_release "$release" || continue
        reporting=$((reporting + 1))
        name=again-postfix-$release
        assert "postfix-$release takes mail to postfix.test again" \
            hand_in "$name" 127.0.0.1 "$(port_of "$release")" postfix.test
        assert "postfix-$release: it is there" eventually 30 arrived_for "$name-inbox@postfix.test"
    done
    for row in "${told_of[@]}"; do
        IFS=: read -r domain policy outcome sessions why <<<"$row"
        sessions=$((sessions * reporting))
        assert "the report for $domain counts $sessions sessions: $policy, $outcome${why:+, $why}" \
            eventually 20 tells "$domain" "$policy" "$outcome" "$sessions" "$why"
    done
}

# What each Postfix that reports has to tell: of which domain, the type of the policy, how its sessions went, how
# many there were, and why they failed. To sts-hijacked.test byrnie lets nobody connect.
told_of=(
    postfix.test:tlsa:success:2
    authority.test:tlsa:success:1
    wrong-postfix.test:tlsa:failure:1:certificate-not-trusted
    stripped.test:tlsa:failure:1:starttls-not-supported
    sts.test:sts:success:1
    sts-wrong.test:sts:failure:1:certificate-host-mismatch
    sts-stripped.test:sts:failure:1:starttls-not-supported
    unsigned.test:no-policy-found:success:1
    sts-testing.test:no-policy-found:success:1
)

# tells DOMAIN POLICY OUTCOME SESSIONS WHY: the report that the domain would get has exactly this.
tells() {
    local counts
    case $3 in
        success) counts="{\"total-successful-session-count\":$4,\"total-failure-session-count\":0}}]" ;;
        failure) counts="{\"total-successful-session-count\":0,\"total-failure-session-count\":$4},.*\"result-type\":\"$5\".*\"failed-session-count\":$4}]}]" ;;
    esac
    says "\"policies\":\[{\"policy\":{\"policy-type\":\"$2\"[^}]*},\"summary\":$counts" \
        "$byrnie" report tlsrpt preview --json --config "$work/collector.toml" "$1"
}

# The control: a Postfix that asks nobody gives attackers what the others withheld from them.
without_byrnie() {
    local row domain
    quietly start_sender alone '' 2500 main
    assert 'a Postfix that does not ask byrnie answers' \
        eventually 20 says '^<. +250' swaks --server 127.0.0.1 --port 2500 --quit-after EHLO
    assert 'it takes mail to all destinations' hand_in alone 127.0.0.1 2500 "${destinations[@]%:*}"
    for row in "${destinations[@]}"; do
        domain=${row%:*}
        [ "${row#*:}" = deferred ] || continue
        assert "without byrnie, the attacker of $domain gets the mail" \
            eventually 30 arrived_for "alone-inbox@$domain"
    done
}
