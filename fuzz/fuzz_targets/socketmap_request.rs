//! A request to the policy daemon.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| byrnie_fuzz_targets::socketmap_request(input));
