//! A verdict as people and machines read it.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| byrnie_fuzz_targets::dnssec_drawing(input));
