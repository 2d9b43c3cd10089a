//! Handshakes over an in-memory connection, against servers that behave and servers that do not.

#[cfg(test)]
mod tls {
    mod authentication;
    mod handshake;
    mod identity;
    mod sessions;
    mod support;
    mod tickets;
}
