//! A line from a client.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| byrnie_fuzz_targets::smtp_command(input));
