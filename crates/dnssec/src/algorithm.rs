//! Which algorithms and digests count, and what the others make of a zone.

use aws_lc_rs::digest;
use domain::base::iana::DigestAlgorithm;
use domain::base::iana::SecurityAlgorithm;

/// What signatures with SHA-1 (algorithms 5 and 7) and DS digests with SHA-1 are worth.
///
/// RFC 9905 forbids signing with them and leaves the validator the choice. Forging one takes a
/// chosen-prefix collision inside data that the zone's owner signs; the alternative is to believe
/// anybody on the path. So the default is to validate them, as Unbound does.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Sha1Policy {
    /// They count like any other.
    #[default]
    Validate,
    /// They count as unknown: a zone that has nothing else is insecure.
    Ignore,
}

/// Whether signatures of this algorithm can be checked.
///
/// RSAMD5, DSA and GOST R 34.10-2001 must not be used (RFC 9904); private and unassigned ones cannot.
pub(crate) fn is_supported(algorithm: SecurityAlgorithm, sha1: Sha1Policy) -> bool {
    match algorithm {
        SecurityAlgorithm::RSASHA1 | SecurityAlgorithm::RSASHA1_NSEC3_SHA1 => {
            sha1 == Sha1Policy::Validate
        }
        SecurityAlgorithm::RSASHA256
        | SecurityAlgorithm::RSASHA512
        | SecurityAlgorithm::ECDSAP256SHA256
        | SecurityAlgorithm::ECDSAP384SHA384
        | SecurityAlgorithm::ED25519
        | SecurityAlgorithm::ED448 => true,
        _ => false,
    }
}

/// The hash function behind the digest type of a DS record, if it is supported.
pub(crate) fn digest(
    digest_type: DigestAlgorithm,
    sha1: Sha1Policy,
) -> Option<&'static digest::Algorithm> {
    match digest_type {
        DigestAlgorithm::SHA1 if sha1 == Sha1Policy::Validate => {
            Some(&digest::SHA1_FOR_LEGACY_USE_ONLY)
        }
        DigestAlgorithm::SHA256 => Some(&digest::SHA256),
        DigestAlgorithm::SHA384 => Some(&digest::SHA384),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn algorithms_8_10_13_to_16_are_supported_and_sha1_by_policy() {
        for number in 0..=u8::MAX {
            let algorithm = SecurityAlgorithm::from_int(number);
            let lasting = [8, 10, 13, 14, 15, 16].contains(&number);
            let sha1 = [5, 7].contains(&number);
            assert_eq!(is_supported(algorithm, Sha1Policy::Ignore), lasting);
            assert_eq!(
                is_supported(algorithm, Sha1Policy::Validate),
                lasting || sha1
            );
        }
    }

    #[test]
    fn digests_2_and_4_are_supported_and_sha1_by_policy() {
        for number in 0..=u8::MAX {
            let digest_type = DigestAlgorithm::from_int(number);
            let lasting = [2, 4].contains(&number);
            assert_eq!(digest(digest_type, Sha1Policy::Ignore).is_some(), lasting);
            let validated = digest(digest_type, Sha1Policy::Validate).is_some();
            assert_eq!(validated, lasting || number == 1);
        }
    }
}
