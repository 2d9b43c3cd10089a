//! Public pages.
//!
//! | what | where |
//! |---|---|
//! | the MTA-STS policy of a domain (RFC 8461, Section 3.3) | `GET https://mta-sts.DOMAIN/.well-known/mta-sts.txt` |
//! | where others hand in their TLS reports (RFC 8460, Section 5.4) | `POST /v1/tlsrpt` at any host of ours |
//!
//! Whoever asks for anything else learns nothing but that it is not here.

mod site;

pub use site::Handed;
pub use site::REPORT_OCTETS_MAX;
pub use site::REPORT_PATH;
pub use site::Site;
pub use site::SiteCounts;
pub use site::TakeReport;
