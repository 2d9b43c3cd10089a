# The other programs: NSD, unbound, Postfix and Exim, each with its own configuration, for
# ci/interop.sh.
#
# 127.0.0.10:53  NSD        127.0.0.21:25  Postfix      127.0.0.30:25  byrnie
# 127.0.0.53:53  unbound    127.0.0.22:25  Exim       127.0.0.24:25  Postfix, STARTTLS stripped

start_nsd() {
    {
        cat <<CONF
server:
    ip-address: 127.0.0.10
    username: ""
    chroot: ""
    zonesdir: "$work/zones"
    database: ""
    pidfile: "$work/nsd.pid"
    xfrdfile: "$work/nsd.xfrd"
    xfrdir: "$work"
    zonelistfile: "$work/nsd.zones"
    cookie-secret-file: "$work/nsd.cookies"
remote-control:
    control-enable: no
zone:
    name: "."
    zonefile: "root.signed"
CONF
        local zone
        for zone in test "${signed_domains[@]}" "${open_domains[@]}"; do
            printf 'zone:\n    name: "%s"\n    zonefile: "%s.signed"\n' "$zone" "$zone"
        done
    } >"$work/nsd.conf"
    nsd -d -c "$work/nsd.conf" >"$work/nsd.log" 2>&1 &
    pids+=($!)
}

start_unbound() {
    printf '. NS ns.test.\nns.test. A 127.0.0.10\n' >"$work/root.hints"
    cat >"$work/unbound.conf" <<CONF
server:
    interface: 127.0.0.53
    access-control: 127.0.0.0/8 allow
    username: ""
    chroot: ""
    directory: "$work"
    pidfile: "$work/unbound.pid"
    use-syslog: no
    do-ip6: no
    do-not-query-localhost: no
    root-hints: "$work/root.hints"
    trust-anchor-file: "$work/zones/root.ds"
    module-config: "validator iterator"
    local-zone: "test." nodefault
remote-control:
    control-enable: no
CONF
    unbound -d -c "$work/unbound.conf" >"$work/unbound.log" 2>&1 &
    pids+=($!)
}

# Postfix takes mail for its domains into one mailbox folder per recipient.
start_postfix() {
    local base=$work/postfix
    mkdir -p "$base/etc" "$base/queue" "$base/data" "$base/mail"
    chown postfix "$base/data"
    chown nobody "$base/mail"
    cat >"$base/etc/main.cf" <<CONF
compatibility_level = 3.6
queue_directory = $base/queue
data_directory = $base/data
maillog_file_prefixes = $work
maillog_file = $base/mail.log
myhostname = mx.postfix.test
mydestination =
alias_maps =
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = reject_unauth_destination
virtual_mailbox_domains = postfix.test, wrong-postfix.test, authority.test, unsigned.test,
    sts.test, sts-wrong.test, sts-hijacked.test, sts-testing.test,
    stripped.test, sts-stripped.test
virtual_mailbox_base = $base/mail
virtual_mailbox_maps = static:inbox/
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
smtpd_tls_security_level = may
smtpd_tls_chain_files = $work/tls/mx.postfix.test.key, $work/tls/mx.postfix.test.pem
smtpd_tls_received_header = yes
smtputf8_enable = yes
message_size_limit = 20000000
virtual_mailbox_limit = 0
CONF
    cat >"$base/etc/master.cf" <<CONF
127.0.0.21:25 inet n - n - - smtpd
127.0.0.24:25 inet n - n - - smtpd -o smtpd_tls_security_level=none
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
CONF
    postfix -c "$base/etc" start >"$base/start.log" 2>&1
    pids+=("$(tr -d ' ' <"$base/queue/pid/master.pid")")
}

# Exim looks for the user that Debian's package makes; it gets one that only this namespace sees.
make_exim_user() {
    local file
    for file in passwd group; do
        cp "/etc/$file" "$work/$file"
    done
    grep -q '^Debian-exim:' "$work/passwd" ||
        echo 'Debian-exim:x:64999:64999::/nonexistent:/usr/sbin/nologin' >>"$work/passwd"
    grep -q '^Debian-exim:' "$work/group" || echo 'Debian-exim:x:64999:' >>"$work/group"
    for file in passwd group; do
        mount --bind "$work/$file" "/etc/$file"
    done
}

# Exim takes mail for its domains into one mailbox folder.
start_exim() {
    local base=$work/exim
    mkdir -p "$base/spool" "$base/mail" "$base/log"
    chown -R nobody "$base/spool" "$base/mail" "$base/log"
    cat >"$base/exim.conf" <<CONF
exim_path = $exim_root/usr/sbin/exim4
keep_environment =
exim_user = nobody
exim_group = nogroup
never_users =
spool_directory = $base/spool
log_file_path = $base/log/%s.log
pid_file_path = $base/exim.pid
primary_hostname = mx.exim.test
local_interfaces = 127.0.0.22
daemon_smtp_ports = 25
domainlist local_domains = exim.test : wrong-exim.test : rolling.test
tls_advertise_hosts = *
tls_certificate = $work/tls/mx.exim.test.pem
tls_privatekey = $work/tls/mx.exim.test.key
smtputf8_advertise_hosts = *
chunking_advertise_hosts = *
message_size_limit = 20M
acl_smtp_rcpt = check_rcpt
acl_smtp_data = accept
host_lookup =
begin acl
check_rcpt:
  accept domains = +local_domains
  deny message = relay not permitted
begin routers
inbox:
  driver = accept
  domains = +local_domains
  transport = inbox
begin transports
inbox:
  driver = appendfile
  directory = $base/mail/inbox
  maildir_format
  create_directory
  envelope_to_add
  user = nobody
  group = nogroup
begin retry
* * F,1h,1m
CONF
    "$exim_root/usr/sbin/exim4" -C "$base/exim.conf" -bdf -q1m >"$base/daemon.log" 2>&1 &
    pids+=($!)
}

# in_mailbox SERVER PATTERN: a message that the server delivered has the line.
in_mailbox() {
    grep -rqE -- "$2" "$work/$1/mail/inbox/new"
}
