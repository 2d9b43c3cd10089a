//! A TLSA record as it stands in a DNS message.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| byrnie_fuzz_targets::tlsa_wire(input));
