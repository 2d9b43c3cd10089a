//! A message behind DATA, in pieces whose length the first octet chooses.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| byrnie_fuzz_targets::smtp_body(input));
