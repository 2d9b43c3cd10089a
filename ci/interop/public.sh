# What byrnie shows the public, and Exim beside it, for ci/interop.sh: the policy host, TLS reports of others, and
# an Exim that sends its mail as byrnie says.
#
# 127.0.0.31:443  byrnie's policy host    127.0.0.30:8462  Exim's lines    127.0.0.41-43:25  Exims, sending
#
# The settings of Exim are those that docs/exim.md shows, taken from there.

public_suite() {
    mount --bind "$work/resolv.conf" "$(realpath /etc/resolv.conf)"
    quietly write_public_config
    assert 'the configuration is good' "$byrnie" config check "$work/public.toml"
    "$byrnie" serve --config "$work/public.toml" 2>"$work/public.log" &
    local gateway=$!
    assert 'byrnie is ready' eventually 20 curl -sf http://127.0.0.30:9465/readyz
    if ! kill -0 "$gateway" 2>/dev/null; then
        cat "$work/public.log"
        return
    fi
    policy_host
    json_answers
    local row name root address
    for row in "${exims[@]}"; do
        IFS=: read -r name root address <<<"$row"
        exim_sends "$name" "$root" "$address"
    done
    reports_of_others
    results_of_postfix
    kill -TERM "$gateway"
    assert 'byrnie stops with exit code 0' wait "$gateway"
}

write_public_config() {
    write_config validate
    mkdir -p "$work/spool"
    cp "$work/byrnie.toml" "$work/public.toml"
    cat >>"$work/public.toml" <<CONF

[tls]
ca_file = "tls/ca.pem"

[policyd]
exim = ["127.0.0.30:8462"]
http = ["127.0.0.30:8460"]

[web]
listen = ["127.0.0.31:443"]
[[web.certificate]]
certificate_file = "tls/public.test.pem"
key_file = "tls/public.test.key"

[[mta_sts]]
domains = ["public.test"]
mode = "enforce"
[[mta_sts]]
domains = ["locked.test"]
mode = "enforce"
mx = ["mail.locked.test"]

[tlsrpt]
contact = "postmaster@byrnie.test"
collect = ["unix:$work/tlsrpt.sock"]

[tlsrpt.receive]
addresses = ["reports@byrnie.test"]
https = true
CONF
}

# The policy host as senders and strangers see it.
policy_host() {
    local curl=(curl -s --cacert "$work/tls/ca.pem")
    local path=/.well-known/mta-sts.txt
    assert 'the policy is served over HTTP/2' \
        eventually 20 says '^mx: mx\.public\.test' "${curl[@]}" --http2 "https://mta-sts.public.test$path"
    assert 'and over HTTP/1.1, as text/plain, with HSTS' \
        says '^strict-transport-security: max-age' "${curl[@]}" --http1.1 -i "https://mta-sts.public.test$path"
    assert 'a policy that would lock out the live MX host is not published' \
        says '^HTTP/[12.]+ 404' "${curl[@]}" -i "https://mta-sts.locked.test$path"
    assert 'strangers get 404 without a word' \
        [ "$("${curl[@]}" https://mta-sts.public.test/)" = '' ]
    assert 'another Host than the one named to TLS is misdirected' \
        says '^HTTP/[12.]+ 421' "${curl[@]}" -i -H 'Host: mta-sts.locked.test' "https://mta-sts.public.test$path"
    assert 'a name that no certificate carries gets no connection' \
        not "${curl[@]}" --resolve stranger.test:443:127.0.0.31 https://stranger.test/
    assert 'mta-sts lint says that the record announces another policy' \
        says 'announces 1, which is another policy' "$byrnie" mta-sts lint --config "$work/public.toml" public.test
}

# The same as Postfix is told, for other MTAs.
json_answers() {
    assert 'JSON: what Postfix is told' \
        says '"dane-only"' curl -s http://127.0.0.30:8460/v1/policy/postfix.test
    assert 'JSON: the description' says '"openapi"' curl -s http://127.0.0.30:8460/openapi.json
}

# Exim as Debian 12 has it, Debian 13 and unstable, whatever that is today: name, root folder, address.
exims=(
    exim-4.96::127.0.0.41
    exim-4.98:exim-trixie:127.0.0.42
    exim-4:exim-sid:127.0.0.43
)

# start_sending_exim NAME ADDRESS COMMAND…: an Exim, the last word of the command, that takes mail from this machine
# and sends it as byrnie says.
start_sending_exim() {
    local name=$1 address=$2 base=$work/$1-sends program=${!#}
    shift 2
    mkdir -p "$base/spool" "$base/log"
    chown -R nobody "$base/spool" "$base/log"
    {
        cat <<CONF
exim_path = $program
keep_environment =
exim_user = nobody
exim_group = nogroup
never_users =
spool_directory = $base/spool
log_file_path = $base/log/%s.log
pid_file_path = $base/exim.pid
primary_hostname = sender.test
local_interfaces = $address
daemon_smtp_ports = 25
acl_smtp_rcpt = accept
acl_smtp_data = accept
host_lookup =
dns_dnssec_ok = 1
domainlist local_domains =
begin routers
CONF
        documented exim.md routers
        echo 'begin transports'
        documented exim.md transports
        printf 'begin retry\n* * F,1h,5s\n'
    } >"$base/exim.conf"
    sed -i -e 's/127\.0\.0\.1:8462/127.0.0.30:8462/' \
        -e "s|/etc/ssl/certs/ca-certificates.crt|$work/tls/ca.pem|" "$base/exim.conf"
    "$@" -C "$base/exim.conf" -bdf -q5s >"$base/daemon.log" 2>&1 &
    pids+=($!)
}

# exim_sends NAME ROOT ADDRESS: through this Exim, good destinations get mail and attacked ones wait.
exim_sends() {
    local name=$1 root=$work/$2 address=$3 domain
    local command=("$exim_root/usr/sbin/exim4")
    if [ ! -d "$root" ]; then
        printf 'not run: %s: Debian has it no more\n' "$name"
        return
    fi
    if [ -n "$2" ]; then
        quietly furnish "$root"
        command=(chroot "$root" /usr/sbin/exim4)
    fi
    assert "$name is what it is called" says "^Exim version ${name#exim-}[. ]" "${command[@]}" --version
    start_sending_exim "$name" "$address" "${command[@]}"
    assert "$name answers" eventually 20 says '^<. +250' swaks --server "$address" --quit-after EHLO
    assert "$name takes mail to all destinations" \
        hand_in "$name" "$address" 25 "${exim_sends_to[@]}" "${exim_withholds_from[@]}"
    for domain in "${exim_sends_to[@]}"; do
        assert "$name: mail to $domain is sent" eventually 30 exim_says "$name" "=> $name-inbox@$domain "
        assert "$name: mail to $domain is there" eventually 20 arrived_for "$name-inbox@$domain"
    done
    for domain in "${exim_withholds_from[@]}"; do
        assert "$name: mail to $domain is deferred" eventually 30 exim_says "$name" "== $name-inbox@$domain .*defer"
        assert "$name: mail to $domain is nowhere" not arrived_for "$name-inbox@$domain"
    done
}

# What becomes of mail to each domain.
exim_sends_to=(postfix.test exim.test authority.test unsigned.test sts.test sts-testing.test)
exim_withholds_from=(wrong-postfix.test wrong-exim.test stripped.test sts-wrong.test sts-hijacked.test
    sts-stripped.test)

exim_says() {
    # It runs without the rights to log elsewhere.
    grep -aqE -- "$2" "$work/$1-sends/daemon.log"
}

# Reports that others hand in.
reports_of_others() {
    local corpus=$here/../fuzz/corpus/tlsrpt_report
    local config=(--config "$work/public.toml")
    assert 'swaks hands in a report by mail' \
        swaks --server 127.0.0.30 --helo client.test --from reports@google.test \
        --to reports@byrnie.test --data "@$corpus/google.eml"
    assert 'curl hands in another one' \
        says '^HTTP/[12.]+ 201' curl -si --cacert "$work/tls/ca.pem" -X POST \
        -H 'Content-Type: application/tlsrpt+json' --data-binary "@$corpus/rfc8460.json" \
        https://mta-sts.public.test/v1/tlsrpt
    assert 'report import takes in a folder' \
        says 'comcast' "$byrnie" report import "${config[@]}" "$corpus"
    assert 'report list shows them' \
        says 'organization' "$byrnie" report tlsrpt list --since 365d --json "${config[@]}"
}

# What Postfix 3.10 and later tells of its sessions, as libtlsrpt writes it: five, of which two failed.
results_of_postfix() {
    local ok='{"policy-type":2,"policy-domain":"told.test","policy-string":["version: STSv1","mode: enforce"],"mx-host":["mx.told.test"]'
    local head='{"dpv":"1","d":"told.test","pr":"v=TLSRPTv1;rua=mailto:a@told.test","policies":['
    local failure='"failure-details":[{"c":204,"s":"192.0.2.1","n":"mx.told.test","r":"192.0.2.2"}]'
    assert 'five datagrams of libtlsrpt are taken' python3 "$here/interop/datagrams.py" "$work/tlsrpt.sock" \
        "$head$ok,\"t\":0,\"f\":0}]}" "$head$ok,\"t\":0,\"f\":0}]}" "$head$ok,\"t\":0,\"f\":0}]}" \
        "$head$ok,$failure,\"t\":1,\"f\":1}]}" "$head$ok,$failure,\"t\":1,\"f\":1}]}"
    local preview=("$byrnie" report tlsrpt preview --json --config "$work/public.toml" told.test)
    assert 'report tlsrpt preview counts two failures' \
        eventually 20 says '"total-failure-session-count": ?2' "${preview[@]}"
    assert 'and three successes' says '"total-successful-session-count": ?3' "${preview[@]}"
    assert 'and says why' says 'certificate-expired' "${preview[@]}"
    "${preview[@]}" >"$work/preview.json"
}
