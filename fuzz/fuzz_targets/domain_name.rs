//! A domain name, in A-label or U-label form.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| byrnie_fuzz_targets::domain_name(input));
