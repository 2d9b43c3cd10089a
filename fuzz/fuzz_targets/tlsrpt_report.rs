//! A report of TLSRPT, as mail, JSON or gzip.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| byrnie_fuzz_targets::tlsrpt_report(input));
