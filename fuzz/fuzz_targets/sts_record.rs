//! A TXT record at `_mta-sts`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| byrnie_fuzz_targets::sts_record(input));
