//! The root's keys over months.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| byrnie_fuzz_targets::trust_anchor_state(input));
