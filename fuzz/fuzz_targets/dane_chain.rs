//! A certificate chain against a record of each usage, selector and matching type.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| byrnie_fuzz_targets::dane_chain(input));
