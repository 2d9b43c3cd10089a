//! A whole session of a client, in pieces whose length the first octet chooses; every second

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| byrnie_fuzz_targets::smtp_server_session(input));
