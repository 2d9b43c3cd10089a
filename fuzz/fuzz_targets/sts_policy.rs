//! A policy file of MTA-STS.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| byrnie_fuzz_targets::sts_policy(input));
