//! Record data in wire form.
//!
//! Names in record data are written lower-case and uncompressed, so that the wire form is at the same
//! time the canonical form of RFC 4034, Section 6.2.

use std::net::Ipv4Addr;

use domain::base::Name;
use domain::base::Rtype;

use crate::LabError;

/// All records of one type at one name: RFC 2181, Section 5.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RecordSet {
    /// Their type.
    pub rtype: Rtype,
    /// Their time to live in seconds.
    pub ttl: u32,
    /// Their data in wire form, in canonical order and without duplicates.
    pub data: Vec<Vec<u8>>,
}

impl RecordSet {
    /// A set out of data in any order.
    #[must_use]
    pub fn new(rtype: Rtype, ttl: u32, mut data: Vec<Vec<u8>>) -> Self {
        data.sort();
        data.dedup();
        Self { rtype, ttl, data }
    }

    /// IPv4 addresses.
    #[must_use]
    pub fn a(ttl: u32, addresses: &[Ipv4Addr]) -> Self {
        let data = addresses.iter().map(|a| a.octets().to_vec()).collect();
        Self::new(Rtype::A, ttl, data)
    }

    /// Mail exchanges with their preferences.
    ///
    /// # Errors
    /// A host is no domain name. The root, `.`, is one: RFC 7505's null MX.
    pub fn mx(ttl: u32, hosts: &[(u16, &str)]) -> Result<Self, LabError> {
        let mut data = Vec::new();
        for (preference, host) in hosts {
            let mut wire = preference.to_be_bytes().to_vec();
            wire.extend_from_slice(dns_name(host)?.as_slice());
            data.push(wire);
        }
        Ok(Self::new(Rtype::MX, ttl, data))
    }

    /// One TXT record, cut into strings of 255 octets.
    #[must_use]
    pub fn txt(ttl: u32, text: &str) -> Self {
        let mut wire = Vec::new();
        for chunk in text.as_bytes().chunks(255) {
            wire.push(u8::try_from(chunk.len()).unwrap_or(u8::MAX));
            wire.extend_from_slice(chunk);
        }
        Self::new(Rtype::TXT, ttl, vec![wire])
    }

    /// Certificate associations: RFC 6698, Section 2.1.
    #[must_use]
    pub fn tlsa(ttl: u32, records: &[TlsaData]) -> Self {
        let data = records.iter().map(TlsaData::wire).collect();
        Self::new(Rtype::TLSA, ttl, data)
    }

    /// An alias.
    ///
    /// # Errors
    /// The target is no domain name.
    pub fn cname(ttl: u32, target: &str) -> Result<Self, LabError> {
        let target = dns_name(target)?;
        Ok(Self::new(
            Rtype::CNAME,
            ttl,
            vec![target.as_slice().to_vec()],
        ))
    }
}

/// One TLSA record; every combination of octets can be served.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsaData {
    /// "Certificate usage".
    pub usage: u8,
    /// "Selector".
    pub selector: u8,
    /// "Matching type".
    pub matching_type: u8,
    /// "Certificate association data".
    pub data: Vec<u8>,
}

impl TlsaData {
    /// The record's data in wire form.
    fn wire(&self) -> Vec<u8> {
        let mut wire = vec![self.usage, self.selector, self.matching_type];
        wire.extend_from_slice(&self.data);
        wire
    }
}

/// A name from its text, lower-case, with or without the trailing dot; `*` and `_` may stand in it.
///
/// # Errors
/// The text is no domain name.
pub fn dns_name(text: &str) -> Result<Name<Vec<u8>>, LabError> {
    let mut name = Name::vec_from_str(text).map_err(|_| LabError::Name(String::from(text)))?;
    name.make_canonical();
    Ok(name)
}

/// The number of labels without the root: what RFC 4034, Section 3.1.3 counts, with the `*`.
pub(super) fn label_count(name: &Name<Vec<u8>>) -> usize {
    name.iter().filter(|label| !label.is_root()).count()
}

/// `name` one label shorter; `None` for the root.
pub(super) fn parent(name: &Name<Vec<u8>>) -> Option<Name<Vec<u8>>> {
    name.parent()
        .and_then(|parent| Name::from_octets(parent.as_slice().to_vec()).ok())
}

/// `*.name`; `None` where that would be too long.
pub(super) fn wildcard_below(name: &Name<Vec<u8>>) -> Option<Name<Vec<u8>>> {
    prefixed(b"*", name)
}

/// `label.name`; `None` where that would be too long.
pub(super) fn prefixed(label: &[u8], name: &Name<Vec<u8>>) -> Option<Name<Vec<u8>>> {
    let mut wire = vec![u8::try_from(label.len()).ok()?];
    wire.extend_from_slice(label);
    wire.extend_from_slice(name.as_slice());
    Name::from_octets(wire).ok()
}
