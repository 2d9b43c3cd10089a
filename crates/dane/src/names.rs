//! Names in certificates: RFC 7672, Section 3.2.3, which follows RFC 6125.

use byrnie_base::DomainName;
use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// The names that a certificate presents for its host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct PresentedNames {
    /// As they stand in the certificate; at most [`PRESENTED_NAMES_MAX`].
    pub(crate) names: Vec<String>,
    /// Which part of the certificate they come from.
    pub(crate) source: NameSource,
}

/// Which part of a certificate its names come from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum NameSource {
    /// The dNSNames of subjectAltName.
    SubjectAltName,
    /// The common names of the subject, as there are no dNSNames.
    CommonName,
}

impl PresentedNames {
    /// Reads the names of a certificate; `None` if it, or its subjectAltName, cannot be read.
    ///
    /// Common names count only where subjectAltName has no dNSName at all: a certificate that uses
    /// the extension says there, and nowhere else, what it is for.
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let alternatives = certificate.subject_alternative_name().ok()?;
        let dns_names: Vec<String> = alternatives
            .iter()
            .flat_map(|extension| &extension.value.general_names)
            .filter_map(dns_name)
            .take(PRESENTED_NAMES_MAX)
            .map(str::to_owned)
            .collect();
        if !dns_names.is_empty() {
            return Some(Self {
                names: dns_names,
                source: NameSource::SubjectAltName,
            });
        }
        let common_names = certificate.subject().iter_common_name();
        Some(Self {
            names: common_names
                .filter_map(|name| name.as_str().ok())
                .take(PRESENTED_NAMES_MAX)
                .map(str::to_owned)
                .collect(),
            source: NameSource::CommonName,
        })
    }

    /// The first reference identifier that one of the names matches.
    pub(crate) fn matched<'a>(&self, reference: &[&'a DomainName]) -> Option<&'a DomainName> {
        reference
            .iter()
            .find(|name| self.names.iter().any(|presented| matches(presented, name)))
            .copied()
    }
}

/// The dNSName, if the alternative name is one.
fn dns_name<'a>(name: &GeneralName<'a>) -> Option<&'a str> {
    match name {
        GeneralName::DNSName(name) => Some(name),
        GeneralName::OtherName(..)
        | GeneralName::RFC822Name(_)
        | GeneralName::X400Address(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EDIPartyName(_)
        | GeneralName::URI(_)
        | GeneralName::IPAddress(_)
        | GeneralName::RegisteredID(_)
        | GeneralName::Invalid(..) => None,
    }
}

/// Whether a presented name covers a reference identifier.
///
/// A wildcard is the whole left-most label and stands for exactly one label.
fn matches(presented: &str, reference: &DomainName) -> bool {
    match presented.strip_prefix("*.") {
        Some(parent) => reference.split_first_label().is_some_and(|(_, rest)| {
            DomainName::from_ascii(parent).is_ok_and(|parent| parent.as_str() == rest)
        }),
        None => DomainName::from_ascii(presented).as_ref() == Ok(reference),
    }
}

/// More names than this in one certificate are not looked at.
pub(crate) const PRESENTED_NAMES_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_without_case_and_as_a_whole() {
        check("mx.example.org", "mx.example.org", true);
        check("MX.Example.ORG", "mx.example.org", true);
        check("mx.example.org.", "mx.example.org", true);
        check("example.org", "mx.example.org", false);
        check("mx.example.org", "example.org", false);
        check("mx.example.org\0.evil.example", "mx.example.org", false);
        check("", "mx.example.org", false);
    }

    #[test]
    fn wildcard_is_the_left_most_label_and_covers_exactly_one() {
        check("*.example.org", "mx.example.org", true);
        check("*.example.org", "a.mx.example.org", false);
        check("*.example.org", "example.org", false);
        check("*.Example.Org", "mx.example.org", true);
        check("m*.example.org", "mx.example.org", false);
        check("mx.*.org", "mx.example.org", false);
        check("*", "org", false);
        check("*.", "org", false);
        check("*.*.org", "mx.example.org", false);
    }

    #[track_caller]
    fn check(presented: &str, reference: &str, expected: bool) {
        let reference = reference.parse().unwrap();
        assert_eq!(matches(presented, &reference), expected, "{presented:?}");
    }
}
