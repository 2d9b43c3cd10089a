# byrnie's validator against unbound, over random zones and random damage to their answers. Sourced by
# ../interop.sh.

# Enough to meet every kind of damage in every kind of zone some thousand times; two to three minutes on two
# cores.
differential_cases=100000
differential_seed=1

differential_suite() {
    local program=${CARGO_TARGET_DIR:-$here/../target}/release/byrnie-differential
    assert "unbound agrees on $differential_cases damaged answers, or a written rule says why not" \
        "$program" --cases "$differential_cases" --seed "$differential_seed"
}
