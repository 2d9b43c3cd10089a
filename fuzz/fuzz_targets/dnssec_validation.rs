//! A whole validation while somebody tampers with the answers.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| byrnie_fuzz_targets::dnssec_validation(input));
