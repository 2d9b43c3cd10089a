//! One DNS message in place of an answer.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| byrnie_fuzz_targets::dnssec_message(input));
