//! A file of trust anchors.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| byrnie_fuzz_targets::trust_anchors(input));
