//! TLS to mail hosts, and the witness that a requirement was met.
