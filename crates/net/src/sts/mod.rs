//! MTA-STS policies over HTTPS: RFC 8461, Section 3.3.
