//! Conformance, by RFC and section.

#[cfg(test)]
mod rfc {
    mod pair;
    mod rfc1870;
    mod rfc2034;
    mod rfc2920;
    mod rfc3030;
    mod rfc3207;
    mod rfc5321;
    mod rfc6531;
    mod rfc8689;
    mod support;
}
