//! A mailbox, from a command or from the configuration.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| byrnie_fuzz_targets::mailbox(input));
