# Everything that is asserted under one DNS mode, for ci/interop.sh.

# suite MODE: starts byrnie with `dns.mode = MODE`, runs the assertions, stops it.
suite() {
    local mode=$1
    printf -- '--  dns.mode = "%s"\n' "$mode"
    rm -rf "$work/postfix/mail/inbox" "$work/exim/mail/inbox" "$work/spool"
    mkdir -p "$work/spool"
    write_config "$mode"
    assert 'the configuration is good' "$byrnie" config check "$work/byrnie.toml"
    "$byrnie" serve --config "$work/byrnie.toml" 2>"$work/byrnie.log" &
    local gateway=$!
    assert 'byrnie is ready' eventually 20 curl -sf http://127.0.0.30:9465/readyz
    if ! kill -0 "$gateway" 2>/dev/null; then
        cat "$work/byrnie.log"
        return
    fi

    decisions
    deliveries
    refusals
    messages
    load

    kill -TERM "$gateway"
    assert 'byrnie stops with exit code 0' wait "$gateway"
}

write_config() {
    cat >"$work/byrnie.toml" <<CONF
version = 1
hostname = "byrnie.test"

[smtp]
listen = ["127.0.0.30:25"]
tls_certificate_file = "tls/byrnie.test.pem"
tls_key_file = "tls/byrnie.test.key"

[dns]
servers = ["127.0.0.53:53"]
mode = "$1"
trust_anchor_file = "zones/root.ds"

[queue]
spool = "spool"
retry_min = "2s"
retry_max = "5s"

[metrics]
listen = "127.0.0.30:9465"
CONF
}

# What `byrnie policy` and `byrnie dns` say.
decisions() {
    local config=(--config "$work/byrnie.toml")
    local domain
    for domain in postfix.test exim.test authority.test rolling.test wrong-postfix.test; do
        assert "policy: $domain demands DANE" \
            says '"verdict":"dane"' "$byrnie" policy --json "${config[@]}" "$domain"
    done
    assert 'policy: unsigned.test is opportunistic' \
        says '"verdict":"opportunistic"' "$byrnie" policy --json "${config[@]}" unsigned.test
    assert 'policy: a domain that does not exist is refused' \
        says '"verdict":"reject"' "$byrnie" policy --json "${config[@]}" nowhere.test
    assert 'dns: a signed TLSA record is secure' \
        says '"status":"secure"' \
        "$byrnie" dns --json "${config[@]}" _25._tcp.mx.exim.test TLSA
    assert 'dns: an unsigned MX record is insecure' \
        says '"status":"insecure"' "$byrnie" dns --json "${config[@]}" unsigned.test MX
}

# deliver TOKEN RECIPIENT: hands a small message to byrnie over STARTTLS; writes its queue id.
deliver() {
    swaks --server 127.0.0.30 --tls --helo client.test --from "sender@client.test" --to "$2" \
        --header "Subject: $1" --body "token $1" >"$work/swaks.log" 2>&1 ||
        { cat "$work/swaks.log" && return 1; }
    grep -oE 'queued as [0-9A-Z]+' "$work/swaks.log" | head -n 1 | cut -d' ' -f3 >"$work/queue-id"
    [ -s "$work/queue-id" ]
}

show() {
    "$byrnie" queue show --config "$work/byrnie.toml" "$(cat "$work/queue-id")"
}

# delivered SERVER DOMAIN PATTERN: mail to the domain arrives, and its receipt has the line.
delivered() {
    local server=$1 domain=$2 pattern=$3
    local token=$mode-$domain
    assert "swaks hands in a message to $domain over STARTTLS" deliver "$token" "inbox@$domain"
    assert "$server delivers the message to $domain" \
        eventually 20 in_mailbox "$server" "token $token"
    assert "the receipt for $domain says '$pattern'" eventually 5 says "$pattern" show
}

deliveries() {
    delivered postfix postfix.test 'matched TLSA 3 1 1'
    delivered exim exim.test 'matched TLSA 3 1 1'
    delivered postfix authority.test 'matched TLSA 2 0 1'
    delivered exim rolling.test 'matched TLSA 3 1 1'
    delivered postfix unsigned.test 'authenticated: not at all'
}

refusals() {
    local server
    for server in postfix exim; do
        local token=$mode-wrong-$server
        assert "swaks hands in a message to wrong-$server.test" \
            deliver "$token" "inbox@wrong-$server.test"
        assert "queue show says why the mail to wrong-$server.test waits" \
            eventually 20 says 'no TLSA record matches' show
        assert "the mail to wrong-$server.test is deferred" says 'deferred' show
        assert "$server never saw the message to wrong-$server.test" \
            not in_mailbox "$server" "token $token"
        assert "queue remove removes it" \
            "$byrnie" queue remove --config "$work/byrnie.toml" "$(cat "$work/queue-id")"
    done
}

# Messages of an unusual form, byte by byte.
messages() {
    python3 "$here/interop/send.py" make >"$work/large.body"
    local server
    for server in postfix exim; do
        assert "1 MiB in lines of 998 octets, by DATA, for $server" \
            python3 "$here/interop/send.py" data "inbox@$server.test" "$mode-data" \
            "$work/large.body"
        assert "$server has every octet of it" \
            eventually 30 same_body "$server" "$mode-data" "$work/large.body"
        assert "1 MiB in lines of 998 octets, by BDAT, for $server" \
            python3 "$here/interop/send.py" bdat "inbox@$server.test" "$mode-bdat" \
            "$work/large.body"
        assert "$server has every octet of it" \
            eventually 30 same_body "$server" "$mode-bdat" "$work/large.body"
        assert "a pipelined message with UTF-8 in its addresses for $server" \
            python3 "$here/interop/send.py" utf8 "grüße@$server.test" "$mode-utf8" \
            "$work/large.body"
        assert "$server has it" eventually 30 in_mailbox "$server" "^Subject: $mode-utf8 grüße"
    done
}

# same_body SERVER SUBJECT FILE: the delivered message with this subject has the file as its body.
same_body() {
    local message
    message=$(grep -rlE "^Subject: $2\$" "$work/$1/mail/inbox/new" | head -n 1)
    [ -n "$message" ] && sed '1,/^$/d' "$message" | cmp - "$3"
}

# Postfix's load generator: 200 messages over 10 connections at once.
load() {
    assert 'smtp-source hands in 200 messages' \
        smtp-source -s 10 -m 200 -l 4000 -S "$mode-load" -f source@client.test \
        -t inbox@postfix.test 127.0.0.30:25
    assert 'Postfix delivers all 200' eventually 60 arrived 200
    assert 'the queue is empty' eventually 10 queue_is_empty
    assert 'the metrics count deliveries under DANE' \
        says 'requirement="dane".*[0-9]' curl -s http://127.0.0.30:9465/metrics
}

arrived() {
    [ "$(grep -rlE "^Subject: $mode-load" "$work/postfix/mail/inbox/new" | wc -l)" -eq "$1" ]
}

queue_is_empty() {
    [ -z "$("$byrnie" queue list --json --config "$work/byrnie.toml")" ]
}
