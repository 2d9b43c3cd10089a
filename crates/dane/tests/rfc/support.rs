//! Authorities, hosts and their certificates, good and broken.

use byrnie_base::DomainName;
use byrnie_base::UnixTime;
use byrnie_dane::Match;
use byrnie_dane::Mismatch;
use byrnie_dane::Presented;
use byrnie_dane::RecordFault;
use byrnie_dane::ReferenceIdentifiers;
use byrnie_dane::TlsaRecord;
use byrnie_dane::verify;
use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::DistinguishedName;
use rcgen::DnType;
use rcgen::IsCa;
use rcgen::Issuer;
use rcgen::KeyPair;
use rcgen::KeyUsagePurpose;
use rcgen::SigningKey;
use rustls_pki_types::CertificateDer;

/// When all tests take place: 2027-01-15.
pub(super) const NOW: UnixTime = UnixTime(1_800_000_000);

/// The host of most tests, which is also the TLSA base domain.
pub(super) const HOST: &str = "mx.example.org";

/// Somebody who issues certificates.
pub(super) struct Authority {
    params: CertificateParams,
    key: KeyPair,
    pub(super) certificate: CertificateDer<'static>,
}

impl Authority {
    /// A self-signed authority.
    pub(super) fn root() -> Self {
        Self::root_with(|_| ())
    }

    /// A self-signed authority with something odd about it.
    pub(super) fn root_with(odd: impl FnOnce(&mut CertificateParams)) -> Self {
        let params = authority_params("Root", odd);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().into();
        Self {
            params,
            key,
            certificate,
        }
    }

    /// An authority below this one.
    pub(super) fn authority(&self, name: &str) -> Self {
        self.authority_with(name, |_| ())
    }

    /// An authority below this one with something odd about it.
    pub(super) fn authority_with(
        &self,
        name: &str,
        odd: impl FnOnce(&mut CertificateParams),
    ) -> Self {
        let params = authority_params(name, odd);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer()).unwrap().into();
        Self {
            params,
            key,
            certificate,
        }
    }

    /// A host with a certificate for [`HOST`].
    pub(super) fn host(&self) -> Host {
        self.host_with(&[HOST], |_| ())
    }

    /// A host with a certificate for these names and something odd about it.
    pub(super) fn host_with(
        &self,
        names: &[&str],
        odd: impl FnOnce(&mut CertificateParams),
    ) -> Host {
        let key = KeyPair::generate().unwrap();
        let params = host_params(names, odd);
        let certificate = params.signed_by(&key, &self.issuer()).unwrap().into();
        Host { key, certificate }
    }

    /// The same certificate with its fields changed by hand and signed again by its own key.
    pub(super) fn operated(mut self, change: impl FnOnce(&mut Vec<Vec<u8>>)) -> Self {
        self.certificate = operate(&self.certificate, &self.key, change);
        self
    }

    /// A host's certificate with its fields changed by hand and signed again by this authority.
    pub(super) fn operate(&self, host: Host, change: impl FnOnce(&mut Vec<Vec<u8>>)) -> Host {
        Host {
            certificate: operate(&host.certificate, &self.key, change),
            ..host
        }
    }

    /// The SubjectPublicKeyInfo.
    pub(super) fn key(&self) -> Vec<u8> {
        byrnie_dane::public_key(&self.certificate).unwrap().to_vec()
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }
}

/// Somebody who shows a certificate.
pub(super) struct Host {
    key: KeyPair,
    pub(super) certificate: CertificateDer<'static>,
}

impl Host {
    /// A host that has signed its own certificate.
    pub(super) fn self_signed(names: &[&str], odd: impl FnOnce(&mut CertificateParams)) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = host_params(names, odd).self_signed(&key).unwrap().into();
        Self { key, certificate }
    }

    /// The same certificate with its fields changed by hand and signed again by its own key.
    pub(super) fn operated(mut self, change: impl FnOnce(&mut Vec<Vec<u8>>)) -> Self {
        self.certificate = operate(&self.certificate, &self.key, change);
        self
    }
}

fn authority_params(name: &str, odd: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    odd(&mut params);
    params
}

fn host_params(names: &[&str], odd: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::OrganizationName, "Host");
    params.is_ca = IsCa::ExplicitNoCa;
    odd(&mut params);
    params
}

/// Ends a certificate's life before [`NOW`].
pub(super) fn expired(params: &mut CertificateParams) {
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
}

/// Begins a certificate's life after [`NOW`].
pub(super) fn not_yet_valid(params: &mut CertificateParams) {
    params.not_before = rcgen::date_time_ymd(2030, 1, 1);
}

/// Gives a certificate's subject this common name.
pub(super) fn common_name(name: &str) -> impl FnOnce(&mut CertificateParams) {
    move |params| params.distinguished_name.push(DnType::CommonName, name)
}

/// What a server shows: its own certificate first.
pub(super) fn chain(certificates: &[&CertificateDer<'static>]) -> Presented<'static> {
    Presented::Chain(certificates.iter().map(|&der| der.clone()).collect())
}

/// The record with parameters such as `"3 1 1"` that `certificate` matches.
pub(super) fn tlsa(parameters: &str, certificate: &CertificateDer<'_>) -> TlsaRecord {
    let blank: TlsaRecord = parameters.parse().unwrap();
    TlsaRecord::for_certificate(
        blank.usage,
        blank.selector,
        blank.matching_type,
        certificate,
    )
    .unwrap()
    .unwrap()
}

/// A usable record of the same kind that nothing matches.
pub(super) fn other(parameters: &str) -> TlsaRecord {
    tlsa(parameters, &Authority::root().certificate)
}

/// Names without a next-hop domain.
pub(super) fn base(name: &str) -> ReferenceIdentifiers {
    ReferenceIdentifiers {
        tlsa_base: name.parse().unwrap(),
        next_hop: Vec::new(),
    }
}

/// Checks what becomes of `records` at [`HOST`].
#[track_caller]
pub(super) fn check(records: &[TlsaRecord], presented: &Presented<'_>, expected: &str) {
    check_names(records, &base(HOST), presented, expected);
}

/// Checks what becomes of `records` under other names.
#[track_caller]
pub(super) fn check_names(
    records: &[TlsaRecord],
    reference: &ReferenceIdentifiers,
    presented: &Presented<'_>,
    expected: &str,
) {
    let outcome = verify(records, reference, presented, NOW);
    assert_eq!(explain(&outcome), expected);
}

/// The outcome in words, without the digests, which differ from run to run.
pub(super) fn explain(outcome: &Result<Match, Mismatch>) -> String {
    match outcome {
        Ok(Match {
            record,
            depth,
            name,
        }) => {
            let name = name.as_ref().map_or("any name", DomainName::as_str);
            format!(
                "matched {} {} {} at depth {depth} for {name}",
                u8::from(record.usage),
                u8::from(record.selector),
                u8::from(record.matching_type)
            )
        }
        Err(mismatch) => mismatch
            .faults
            .iter()
            .map(|(_, fault)| {
                if matches!(fault, RecordFault::Differs { .. }) {
                    "differs".to_owned()
                } else {
                    fault.to_string()
                }
            })
            .collect::<Vec<_>>()
            .join("; "),
    }
}

/// Takes a certificate apart into the fields of its `TBSCertificate`, version first, lets
/// `change` work on them, and signs the result with `key`.
fn operate(
    certificate: &CertificateDer<'_>,
    key: &KeyPair,
    change: impl FnOnce(&mut Vec<Vec<u8>>),
) -> CertificateDer<'static> {
    let [to_be_signed, algorithm, _] = items(&content(certificate)).try_into().unwrap();
    let mut fields = items(&content(&to_be_signed));
    change(&mut fields);
    let to_be_signed = der(SEQUENCE, &fields.concat());
    let mut signature = vec![0];
    signature.extend(key.sign(&to_be_signed).unwrap());
    let whole = [to_be_signed, algorithm, der(BIT_STRING, &signature)].concat();
    der(SEQUENCE, &whole).into()
}

/// Makes a version 1 certificate: neither a version nor extensions.
pub(super) fn version_1(fields: &mut Vec<Vec<u8>>) {
    fields.remove(0);
    fields.retain(|field| field[0] != EXTENSIONS);
}

/// Replaces the dates by dates that no calendar has.
pub(super) fn impossible_dates(fields: &mut [Vec<u8>]) {
    let date = der(UTC_TIME, b"999999999999Z");
    fields[VALIDITY] = der(SEQUENCE, &[date.clone(), date].concat());
}

/// Replaces the extensions by octets that are none.
pub(super) fn broken_extensions(fields: &mut Vec<Vec<u8>>) {
    fields.retain(|field| field[0] != EXTENSIONS);
    fields.push(der(EXTENSIONS, &[0x30, 0x03, 0x02, 0x01, 0x00]));
}

/// Replaces the key by octets that are none.
pub(super) fn broken_key(fields: &mut [Vec<u8>]) {
    fields[PUBLIC_KEY] = der(SEQUENCE, &[0x05, 0x00]);
}

/// A DER item.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut item = vec![tag];
    match u8::try_from(content.len()) {
        Ok(length) if length < 0x80 => item.push(length),
        Ok(length) => item.extend([0x81, length]),
        Err(_) => {
            item.push(0x82);
            item.extend(u16::try_from(content.len()).unwrap().to_be_bytes());
        }
    }
    item.extend(content);
    item
}

/// The content of the only DER item in `item`.
fn content(item: &[u8]) -> Vec<u8> {
    let (header, _) = measure(item);
    item[header..].to_vec()
}

/// The DER items that stand one after the other.
fn items(mut octets: &[u8]) -> Vec<Vec<u8>> {
    let mut items = Vec::new();
    while !octets.is_empty() {
        let (header, length) = measure(octets);
        let (item, rest) = octets.split_at(header + length);
        items.push(item.to_vec());
        octets = rest;
    }
    items
}

/// The lengths of an item's header and content.
fn measure(item: &[u8]) -> (usize, usize) {
    match item[1] {
        0x81 => (3, usize::from(item[2])),
        0x82 => (4, usize::from(u16::from_be_bytes([item[2], item[3]]))),
        length => (2, usize::from(length)),
    }
}

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;
const UTC_TIME: u8 = 0x17;
const EXTENSIONS: u8 = 0xa3;

/// Places in a `TBSCertificate` with a version: RFC 5280, Section 4.1.
const VALIDITY: usize = 4;
const PUBLIC_KEY: usize = 6;
