//! Conformance, by RFC and section. Chains are made for each test; nothing is read from disk.

#[cfg(test)]
mod rfc {
    mod laws;
    mod pem;
    mod rfc7250;
    mod rfc7671;
    mod rfc7672;
    mod support;
}
