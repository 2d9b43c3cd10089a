//! The system's list of resolvers.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| byrnie_fuzz_targets::resolv_conf(input));
