//! TLSA records: RFC 6698, Section 2, with the names of RFC 7218.

/// One TLSA record as it stands in the DNS.
///
/// Every combination of octets is a record; whether a sender can use it is another question, and
/// one that RFC 7672 answers differently from "is it well-formed" (behaviour rule 14).
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TlsaRecord {
    /// What the record says about the certificate chain.
    pub usage: CertUsage,
    /// What part of the certificate is compared.
    pub selector: Selector,
    /// How `data` stands for that part.
    pub matching_type: MatchingType,
    /// "Certificate association data": a digest, or the part itself.
    pub data: Vec<u8>,
}

/// "Certificate usage": RFC 6698, Section 2.1.1.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum CertUsage {
    /// 0: an authority that must be in the path, besides a public root. Unusable for SMTP.
    PkixTa,
    /// 1: the server's certificate, besides a public root. Unusable for SMTP.
    PkixEe,
    /// 2: an authority that the path must end in.
    DaneTa,
    /// 3: the server's own certificate or key.
    DaneEe,
    /// 4 to 254 are unassigned, 255 is private.
    Unassigned(u8),
}

/// "Selector": RFC 6698, Section 2.1.2.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Selector {
    /// 0: the whole certificate.
    Cert,
    /// 1: the SubjectPublicKeyInfo.
    Spki,
    /// 2 to 254 are unassigned, 255 is private.
    Unassigned(u8),
}

/// "Matching type": RFC 6698, Section 2.1.3.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum MatchingType {
    /// 0: the selected part itself.
    Full,
    /// 1: its SHA-256 digest.
    Sha256,
    /// 2: its SHA-512 digest.
    Sha512,
    /// 3 to 254 are unassigned, 255 is private.
    Unassigned(u8),
}
