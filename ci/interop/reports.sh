# TLS reports beside others who count, write and read them, for ci/interop.sh: sys4's tlsrpt-reporter is told of the
# same sessions as byrnie, and parsedmarc reads what byrnie sends.
#
# 127.0.0.30:25  byrnie        127.0.0.21:25  the mail host of all who asked for reports
#
# What is told of was yesterday, so that today it is reported.

# Domains that have asked for reports, whose mail host is Postfix.
reported_domains=(postfix.test authority.test unsigned.test)

# The key that signs reports, and its record as a zone has it: in strings of 255 octets at most.
make_dkim_key() {
    openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$work/dkim.pem"
    local key
    key=$(openssl pkey -in "$work/dkim.pem" -pubout -outform DER | base64 -w 0)
    printf 'tlsrpt._domainkey.byrnie TXT "v=DKIM1; k=rsa; p=" "%s" "%s"\n' \
        "${key:0:200}" "${key:200}" >"$work/dkim.txt"
}

reports_suite() {
    echo 'nameserver 127.0.0.53' >"$work/resolv.conf"
    mount --bind "$work/resolv.conf" "$(realpath /etc/resolv.conf)"
    local bin=$work/venv/bin yesterday
    yesterday=$(date -u -d yesterday +%F)
    quietly write_reports_config
    sessions_of_yesterday
    counted_by_both
    reports_of_byrnie
    report_of_tlsrpt_reporter
}

write_reports_config() {
    mkdir -p "$work/spool-reports"
    cat >"$work/reports.toml" <<CONF
version = 1
hostname = "byrnie.test"
[smtp]
listen = ["127.0.0.30:25"]
[dns]
servers = ["127.0.0.53:53"]
mode = "trust-ad"
[tls]
ca_file = "tls/ca.pem"
[queue]
spool = "spool-reports"
[tlsrpt]
contact = "postmaster@byrnie.test"
organization = "Interop"
from = "tls-reports@byrnie.test"
dkim_selector = "tlsrpt"
dkim_key_file = "dkim.pem"
spread = "0s"
collect = ["unix:$work/told-byrnie.sock"]
[metrics]
listen = "127.0.0.30:9465"
CONF
}

# Both are told the same.
sessions_of_yesterday() {
    mkdir -p "$work/collectd"
    # Noon, whenever this runs. Debian's `faketime` would stand between byrnie and signals.
    TZ=UTC FAKETIME="@$yesterday 12:00:00" FAKETIME_DONT_FAKE_MONOTONIC=1 LD_PRELOAD=$(libfaketime) \
        "$byrnie" serve --config "$work/reports.toml" 2>"$work/reports-1.log" &
    local gateway=$!
    "$bin/tlsrpt-collectd" --storage "sqlite://$work/collectd/told.sqlite" --socketname "$work/told-sys4.sock" \
        --socketuser '' --socketgroup '' --pidfilename '' --logfilename "$work/collectd.log" --max_uncommited_datagrams 1 \
        >"$work/collectd.out" 2>&1 &
    local collectd=$!
    assert 'byrnie collects' eventually 20 [ -S "$work/told-byrnie.sock" ]
    assert 'tlsrpt-collectd collects' eventually 20 [ -S "$work/told-sys4.sock" ]
    assert 'both are told of 600 sessions' tell_both 600
    assert 'tlsrpt-collectd has counted them' eventually 20 has_counted "$work/collectd/told.sqlite" "$(cat "$work/told")"
    # Its own way to let the day be over; a second time would begin another.
    kill -USR2 "$collectd"
    assert 'tlsrpt-collectd ends its day' eventually 20 says "^${reported_domains[0]}\$" \
        "$bin/tlsrpt-fetcher" --storage "sqlite://$work/collectd/told.sqlite" --logfilename "$work/fetcher.log" "$yesterday"
    kill -TERM "$gateway"
    assert 'byrnie stops with exit code 0' wait "$gateway"
    kill -TERM "$collectd"
    wait "$collectd" || true
}

libfaketime() {
    dpkg -L libfaketime | grep '/libfaketimeMT\.so'
}

tell_both() {
    python3 "$here/interop/sessions.py" "$1" "$work/told-byrnie.sock" "$work/told-sys4.sock" "${reported_domains[@]}" \
        >"$work/told"
}

# has_counted DATABASE NUMBER: tlsrpt-collectd has so many results.
has_counted() {
    python3 - "$1" "$2" <<'PYTHON'
import sqlite3
import sys

database, results = sys.argv[1], int(sys.argv[2])
rows = sqlite3.connect(f"file:{database}?mode=ro", uri=True).execute("SELECT sum(cntrtotal) FROM finalresults")
counted = next(rows)[0] or 0
print(counted)
sys.exit(counted != results)
PYTHON
}

# What both have counted.
counted_by_both() {
    local domain
    for domain in "${reported_domains[@]}"; do
        "$bin/tlsrpt-fetcher" --storage "sqlite://$work/collectd/told.sqlite" --logfilename "$work/fetcher.log" \
            "$yesterday" "$domain" >"$work/fetched-$domain.json"
        "$byrnie" report tlsrpt preview --json --day "$yesterday" --config "$work/reports.toml" "$domain" \
            >"$work/preview-$domain.json"
        assert "byrnie and tlsrpt-collectd count the same of $domain" \
            python3 "$here/interop/totals.py" "$work/preview-$domain.json" "$work/fetched-$domain.json"
    done
}

# The mails that go out today.
reports_of_byrnie() {
    "$byrnie" serve --config "$work/reports.toml" 2>"$work/reports-2.log" &
    local gateway=$! domain mail
    assert 'byrnie is ready' eventually 20 curl -sf http://127.0.0.30:9465/readyz
    for domain in "${reported_domains[@]}"; do
        assert "the report for $domain arrives" eventually 60 arrived_for "tls-reports@$domain"
        mail=$work/report-$domain.eml
        cp "$(grep -rlE "^Delivered-To: tls-reports@$domain\$" "$work/postfix/mail/inbox/new" | head -n 1)" "$mail"
        assert "its signature is good, says dkimpy" says '^signature ok' sh -c "'$bin/dkimverify' <'$mail'"
        "$bin/parsedmarc" --offline --silent -o "$work/parsed-$domain" "$mail" >"$work/parsedmarc.log" 2>&1 || true
        assert "parsedmarc reads in it what byrnie has counted" \
            python3 "$here/interop/totals.py" "$work/preview-$domain.json" "$work/parsed-$domain/smtp_tls.json"
    done
    kill -TERM "$gateway"
    assert 'byrnie stops with exit code 0' wait "$gateway"
    assert 'the record that byrnie asks for is the one that was published' \
        says "$(sed -E 's/.*p=" "([^"]{40}).*/\1/; s/[+]/[+]/g' "$work/dkim.txt")" cat "$work/reports-2.log"
}

# What tlsrpt-reporter makes of the same, byrnie reads.
report_of_tlsrpt_reporter() {
    local domain=${reported_domains[0]} folder=$work/reportd
    mkdir -p "$folder/mails"
    printf '#!/bin/sh\ncat >"%s/mails/$$.eml"\n' "$folder" >"$folder/sendmail"
    chmod +x "$folder/sendmail"
    "$bin/tlsrpt-reportd" --dbname "$folder/reportd.sqlite" --pidfilename '' --logfilename "$folder/log" \
        --fetchers "$bin/tlsrpt-fetcher --storage sqlite://$work/collectd/told.sqlite" \
        --organization_name sys4 --contact_info postmaster@byrnie.test --sender_address tls-reports@byrnie.test \
        --sendmail_script "$folder/sendmail" --spread_out_delivery 1 --interval_main_loop 1 >"$folder/out" 2>&1 &
    local reportd=$!
    assert 'tlsrpt-reportd sends its reports' eventually 60 has_mails "$folder/mails" "${#reported_domains[@]}"
    kill -TERM "$reportd"
    wait "$reportd" || true
    local mail
    mail=$(grep -lE "^To: .*tls-reports@$domain" "$folder/mails"/*.eml | head -n 1)
    assert "what tlsrpt-reportd reports of $domain is what byrnie reports" \
        python3 "$here/interop/totals.py" "$work/preview-$domain.json" "$mail"
    assert 'byrnie takes it in' says '1 new' "$byrnie" report import --config "$work/reports.toml" "$mail"
    assert 'and shows it' says 'sys4' "$byrnie" report tlsrpt list --config "$work/reports.toml"
}

# has_mails FOLDER NUMBER
has_mails() {
    [ "$(find "$1" -name '*.eml' | wc -l)" -ge "$2" ]
}
