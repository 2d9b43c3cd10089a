# Assertions and waiting, for ci/interop.sh.

passed=0
failed=0

# Prints one line for an assertion: pass NAME or fail NAME, and counts it.
verdict() {
    local outcome=$1 name=$2
    if [ "$outcome" -eq 0 ]; then
        passed=$((passed + 1))
        printf 'pass  %s\n' "$name"
    else
        failed=$((failed + 1))
        printf 'FAIL  %s\n' "$name"
    fi
}

# assert NAME COMMAND…: the command succeeds.
assert() {
    local name=$1 outcome=0
    shift
    "$@" >"$work/assert.log" 2>&1 || outcome=$?
    verdict "$outcome" "$name"
    if [ "$outcome" -ne 0 ]; then
        sed 's/^/      /' "$work/assert.log" | tail -n 20
    fi
}

# eventually SECONDS COMMAND…: the command succeeds before the time is over; asks five times a second.
eventually() {
    local deadline=$(($(date +%s) + $1))
    shift
    while ! "$@" >"$work/eventually.log" 2>&1; do
        if [ "$(date +%s)" -ge "$deadline" ]; then
            cat "$work/eventually.log"
            echo "still not so: $*"
            return 1
        fi
        sleep 0.2
    done
}

# says PATTERN COMMAND…: the command's output has a line that matches, without regard to case.
says() {
    local pattern=$1 output
    shift
    output=$("$@" 2>&1) || true
    if ! grep -qiE -- "$pattern" <<<"$output"; then
        echo "no line matches '$pattern' in the output of: $*"
        printf '%s\n' "$output"
        return 1
    fi
}

# not COMMAND…: the command fails.
not() {
    if "$@"; then
        return 1
    fi
}
