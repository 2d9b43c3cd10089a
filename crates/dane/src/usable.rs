//! Which records a sender of mail can use: RFC 7672, Section 3.1; behaviour rules 14 and 16.

use std::fmt;

use rustls_pki_types::CertificateDer;

use crate::CertUsage;
use crate::MatchingType;
use crate::Selector;
use crate::TlsaRecord;
use crate::certificate;

/// A TLSA RRset, sorted by whether a sender of mail can use the records.
///
/// `usable` is empty and `unusable` is not: TLS is required, and any certificate will do
/// (RFC 7672, Section 2.2).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct UsableRecords {
    /// The records that a certificate can match, in the order in which they came.
    pub usable: Vec<TlsaRecord>,
    /// The others, each with the reason.
    pub unusable: Vec<(TlsaRecord, Unusable)>,
}

impl UsableRecords {
    /// Sorts an RRset.
    #[must_use]
    pub fn partition(records: &[TlsaRecord]) -> Self {
        let mut sorted = Self::default();
        for record in records {
            match record.usability() {
                Ok(()) => sorted.usable.push(record.clone()),
                Err(why) => sorted.unusable.push((record.clone(), why)),
            }
        }
        sorted
    }
}

impl TlsaRecord {
    /// Whether a sender of mail can use the record.
    ///
    /// # Errors
    /// Says why it cannot.
    pub fn usability(&self) -> Result<(), Unusable> {
        match self.usage {
            // Senders of mail have no common set of public authorities, and must not defer mail
            // to hosts whose authority they happen not to know: RFC 7672, Section 3.1.3.
            CertUsage::PkixTa | CertUsage::PkixEe => return Err(Unusable::PublicAuthorityUsage),
            CertUsage::DaneTa | CertUsage::DaneEe => {}
            CertUsage::Unassigned(_) => return Err(Unusable::UnknownUsage),
        }
        if matches!(self.selector, Selector::Unassigned(_)) {
            return Err(Unusable::UnknownSelector);
        }
        if matches!(self.matching_type, MatchingType::Unassigned(_)) {
            return Err(Unusable::UnknownMatchingType);
        }
        if self.data.is_empty() {
            return Err(Unusable::NoData);
        }
        match (self.matching_type.digest_octets(), self.selector) {
            (Some(octets), _) if self.data.len() == octets => Ok(()),
            (Some(_), _) => Err(Unusable::DigestLength),
            (None, Selector::Cert) => {
                certificate::public_key(&CertificateDer::from(self.data.as_slice()))
                    .map(drop)
                    .map_err(|_| Unusable::NotACertificate)
            }
            (None, Selector::Spki | Selector::Unassigned(_)) => {
                certificate::check_public_key(&self.data).map_err(|_| Unusable::NotAKey)
            }
        }
    }
}

impl MatchingType {
    /// The length of the digest, if it is one.
    const fn digest_octets(self) -> Option<usize> {
        match self {
            Self::Sha256 => Some(32),
            Self::Sha512 => Some(64),
            Self::Full | Self::Unassigned(_) => None,
        }
    }
}

/// Why a sender of mail cannot use a record.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Unusable {
    /// The data of a digest does not have the digest's length.
    DigestLength,
    /// There is no data.
    NoData,
    /// The data should be a certificate and is none.
    NotACertificate,
    /// The data should be a SubjectPublicKeyInfo and is none.
    NotAKey,
    /// Usages 0 and 1 want a public authority besides the record.
    PublicAuthorityUsage,
    /// The matching type is not 0, 1 or 2.
    UnknownMatchingType,
    /// The selector is not 0 or 1.
    UnknownSelector,
    /// The certificate usage is not 0 to 3.
    UnknownUsage,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DigestLength => "the digest has the wrong length",
            Self::NoData => "the record has no data",
            Self::NotACertificate => "the data is not a certificate",
            Self::NotAKey => "the data is not a SubjectPublicKeyInfo",
            Self::PublicAuthorityUsage => {
                "usages 0 and 1 ask for a public authority, which mail does not have"
            }
            Self::UnknownMatchingType => "the matching type is unknown",
            Self::UnknownSelector => "the selector is unknown",
            Self::UnknownUsage => "the certificate usage is unknown",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usages_0_and_1_and_unknown_parameters_are_unusable() {
        check(0, 1, 1, 32, Err(Unusable::PublicAuthorityUsage));
        check(1, 1, 1, 32, Err(Unusable::PublicAuthorityUsage));
        check(2, 1, 1, 32, Ok(()));
        check(3, 1, 1, 32, Ok(()));
        check(4, 1, 1, 32, Err(Unusable::UnknownUsage));
        check(255, 1, 1, 32, Err(Unusable::UnknownUsage));
        check(3, 2, 1, 32, Err(Unusable::UnknownSelector));
        check(3, 255, 1, 32, Err(Unusable::UnknownSelector));
        check(3, 1, 3, 32, Err(Unusable::UnknownMatchingType));
        check(3, 1, 255, 32, Err(Unusable::UnknownMatchingType));
    }

    #[test]
    fn a_digest_has_exactly_one_length() {
        for usage in [2, 3] {
            for selector in [0, 1] {
                for (matching_type, right) in [(1, 32), (2, 64)] {
                    for length in [1, 2, 3, 19, 31, 32, 33, 63, 64, 65, 65_532] {
                        let expected = match length == right {
                            true => Ok(()),
                            false => Err(Unusable::DigestLength),
                        };
                        check(usage, selector, matching_type, length, expected);
                    }
                    check(usage, selector, matching_type, 0, Err(Unusable::NoData));
                }
            }
        }
    }

    #[test]
    fn full_data_must_be_what_the_selector_says() {
        check(3, 0, 0, 0, Err(Unusable::NoData));
        check(3, 1, 0, 0, Err(Unusable::NoData));
        for length in [1, 2, 3, 19, 31, 33, 65_532] {
            check(2, 0, 0, length, Err(Unusable::NotACertificate));
            check(3, 1, 0, length, Err(Unusable::NotAKey));
        }
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::default()
            .self_signed(&key)
            .unwrap();
        let spki = rcgen::PublicKeyData::subject_public_key_info(&key);
        for usage in [2, 3] {
            check_data(usage, 0, 0, certificate.der(), Ok(()));
            check_data(usage, 1, 0, &spki, Ok(()));
            check_data(usage, 0, 0, &spki, Err(Unusable::NotACertificate));
            check_data(usage, 1, 0, certificate.der(), Err(Unusable::NotAKey));
        }
    }

    #[test]
    fn an_rrset_is_sorted_without_a_change_in_order() {
        let records: Vec<TlsaRecord> = [3, 0, 2, 1]
            .map(|usage| record(usage, 1, 1, &[0; 32]))
            .to_vec();
        let sorted = UsableRecords::partition(&records);
        assert_eq!(sorted.usable, [records[0].clone(), records[2].clone()]);
        assert_eq!(
            sorted.unusable,
            [&records[1], &records[3]]
                .map(|record| (record.clone(), Unusable::PublicAuthorityUsage))
        );
    }

    #[track_caller]
    fn check(
        usage: u8,
        selector: u8,
        matching_type: u8,
        length: usize,
        expected: Result<(), Unusable>,
    ) {
        check_data(usage, selector, matching_type, &vec![0; length], expected);
    }

    #[track_caller]
    fn check_data(
        usage: u8,
        selector: u8,
        matching_type: u8,
        data: &[u8],
        expected: Result<(), Unusable>,
    ) {
        let record = record(usage, selector, matching_type, data);
        assert_eq!(record.usability(), expected, "{}", record.abbreviated());
    }

    fn record(usage: u8, selector: u8, matching_type: u8, data: &[u8]) -> TlsaRecord {
        let mut rdata = vec![usage, selector, matching_type];
        rdata.extend_from_slice(data);
        TlsaRecord::from_wire(&rdata).unwrap()
    }
}
