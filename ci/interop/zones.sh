# The signed zone tree: root, test and one zone for each recipient domain, for ci/interop.sh.
#
# Writes $work/zones/*.signed, nsd's list of zones and the root's DS record.

# The SubjectPublicKeyInfo of a certificate as the data of TLSA 3 1 1.
spki_sha256() {
    openssl x509 -in "$1" -noout -pubkey |
        openssl pkey -pubin -outform DER |
        openssl dgst -sha256 -r | cut -d' ' -f1
}

# A certificate as the data of TLSA 2 0 1.
cert_sha256() {
    openssl x509 -in "$1" -outform DER | openssl dgst -sha256 -r | cut -d' ' -f1
}

# One authority, and one certificate from it for each mail host.
make_certificates() {
    mkdir -p "$work/tls"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
        -subj '/CN=interop authority' -keyout "$work/tls/ca.key" -out "$work/tls/ca.pem"
    local name
    # The second name is what TLSA records of usage 2 for authority.test ask for.
    for name in mx.postfix.test,DNS:mx.authority.test,DNS:mx.sts.test mx.exim.test byrnie.test \
        policy.test,DNS:mta-sts.sts.test,DNS:mta-sts.sts-wrong.test,DNS:mta-sts.sts-hijacked.test,DNS:mta-sts.sts-testing.test,DNS:mta-sts.sts-stripped.test \
        public.test,DNS:mta-sts.public.test,DNS:mta-sts.locked.test; do
        local names=DNS:$name
        name=${name%%,*}
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name" \
            -keyout "$work/tls/$name.key" -out "$work/tls/$name.csr"
        openssl x509 -req -in "$work/tls/$name.csr" -days 30 -out "$work/tls/$name.leaf" \
            -CA "$work/tls/ca.pem" -CAkey "$work/tls/ca.key" -CAcreateserial \
            -extfile <(printf 'subjectAltName=%s\n' "$names")
        cat "$work/tls/$name.leaf" "$work/tls/ca.pem" >"$work/tls/$name.pem"
    done
    chmod 644 "$work"/tls/*
}

# zone_head NAME: what every zone begins with.
zone_head() {
    cat <<ZONE
\$ORIGIN $1
\$TTL 300
@ SOA ns.test. postmaster.test. 1 3600 600 864000 60
@ NS ns.test.
ZONE
}

# reports_wanted DOMAIN: the record by which a domain asks for TLS reports.
reports_wanted() {
    printf '_smtp._tls TXT "v=TLSRPTv1; rua=mailto:tls-reports@%s"\n' "$1"
}

# recipient_zone DOMAIN ADDRESS TLSA…: a domain with one mail host; each TLSA is one argument.
recipient_zone() {
    local domain=$1 address=$2
    shift 2
    zone_head "$domain."
    printf '@ MX 10 mx\nmx A %s\n' "$address"
    reports_wanted "$domain"
    local record
    for record in "$@"; do
        printf '_25._tcp.mx TLSA %s\n' "$record"
    done
}

# sign NAME: makes keys for the zone in $work/zones/NAME.zone and signs it with NSEC3.
sign() (
    cd "$work/zones"
    local origin=$1 file=$2 ksk zsk
    ksk=$(ldns-keygen -a ECDSAP256SHA256 -k "$origin")
    zsk=$(ldns-keygen -a ECDSAP256SHA256 "$origin")
    ldns-signzone -n -t 0 -o "$origin" -f "$file.signed" "$file.zone" "$ksk" "$zsk"
    ldns-key2ds -n -2 "$ksk.key" >"$file.ds"
)

# Every zone, children first, since a parent holds its children's DS records.
make_zones() {
    mkdir -p "$work/zones"
    local good_postfix good_exim wrong authority
    good_postfix="3 1 1 $(spki_sha256 "$work/tls/mx.postfix.test.leaf")"
    good_exim="3 1 1 $(spki_sha256 "$work/tls/mx.exim.test.leaf")"
    authority="2 0 1 $(cert_sha256 "$work/tls/ca.pem")"
    wrong="3 1 1 $(printf '%064d' 0)"
    recipient_zone postfix.test 127.0.0.21 "$good_postfix" >"$work/zones/postfix.test.zone"
    recipient_zone exim.test 127.0.0.22 "$good_exim" >"$work/zones/exim.test.zone"
    recipient_zone wrong-postfix.test 127.0.0.21 "$wrong" >"$work/zones/wrong-postfix.test.zone"
    recipient_zone stripped.test 127.0.0.24 "$good_postfix" >"$work/zones/stripped.test.zone"
    recipient_zone wrong-exim.test 127.0.0.22 "$wrong" >"$work/zones/wrong-exim.test.zone"
    recipient_zone authority.test 127.0.0.21 "$authority" >"$work/zones/authority.test.zone"
    # Half a roll-over: the old key, and the one that is in use.
    recipient_zone rolling.test 127.0.0.22 "$wrong" "$good_exim" >"$work/zones/rolling.test.zone"
    recipient_zone unsigned.test 127.0.0.21 >"$work/zones/unsigned.test.zone"

    local domain
    for domain in "${signed_domains[@]}"; do
        sign "$domain." "$domain"
    done
    cp "$work/zones/unsigned.test.zone" "$work/zones/unsigned.test.signed"

    {
        zone_head test.
        printf 'ns A 127.0.0.10\nbyrnie A 127.0.0.30\n'
        [ ! -e "$work/dkim.txt" ] || cat "$work/dkim.txt"
        for domain in "${signed_domains[@]}" "${open_domains[@]}"; do
            printf '%s. NS ns.test.\n' "$domain"
        done
        for domain in "${signed_domains[@]}"; do
            cat "$work/zones/$domain.ds"
        done
    } >"$work/zones/test.zone"
    sign test. test

    {
        zone_head .
        printf 'test. NS ns.test.\nns.test. A 127.0.0.10\n'
        cat "$work/zones/test.ds"
    } >"$work/zones/root.zone"
    sign . root
}

# Recipient domains whose zones are signed.
signed_domains=(
    postfix.test exim.test wrong-postfix.test wrong-exim.test authority.test rolling.test
    stripped.test
)

# Those whose zones are not.
open_domains=(unsigned.test sts.test sts-wrong.test sts-hijacked.test sts-testing.test
    sts-stripped.test public.test locked.test)
