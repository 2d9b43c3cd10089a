//! A TLSA record in presentation form.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| byrnie_fuzz_targets::tlsa_text(input));
