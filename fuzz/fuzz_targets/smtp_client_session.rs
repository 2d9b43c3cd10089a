//! All that a server says in a session, in pieces whose length the first octet chooses: with a

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| byrnie_fuzz_targets::smtp_client_session(input));
