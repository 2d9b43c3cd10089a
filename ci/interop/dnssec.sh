# The DNSSEC bed for ci/interop.sh: every question has its right answer, whoever the upstream is.

# The addresses are those of dnssec-bed/bed/places.py.
unbound=127.53.0.54:53
unbound_validating=127.53.0.53:53
bind=127.0.0.1:5355

# all_right NAME UPSTREAM once|twice: every answer is right; says how many there were and how long they took.
all_right() {
    assert "$1" timeout 300 "$here/dnssec-bed/judge.py" "$byrnie" "$work/bed" "$2" "$3"
    tail -n 1 "$work/assert.log" | sed 's/^/      /'
}

# Each upstream is asked while it knows nothing yet, the first once more when it does.
dnssec_suite() {
    all_right 'every answer is right over a cold unbound' "$unbound" once
    all_right 'every answer is right over a warm unbound, and the second time without asking it' \
        "$unbound" twice
    all_right 'every answer is right over an unbound that validates' "$unbound_validating" once
    all_right 'every answer is right over BIND' "$bind" once
}
