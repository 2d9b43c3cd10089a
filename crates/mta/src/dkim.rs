//! `DomainKeys` Identified Mail: signatures on what byrnie itself writes ([RFC 6376], [RFC 8463]).
//!
//! byrnie signs its reports, which are short, made in memory, and have CRLF at the end of every line.
//! Header and body are both brought into the relaxed form, which survives what relays do to white space.
//!
//! [RFC 6376]: https://www.rfc-editor.org/rfc/rfc6376
//! [RFC 8463]: https://www.rfc-editor.org/rfc/rfc8463

use std::fmt;

use aws_lc_rs::digest;
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::encoding::PublicKeyX509Der;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature;
use aws_lc_rs::signature::Ed25519KeyPair;
use aws_lc_rs::signature::KeyPair;
use aws_lc_rs::signature::RsaKeyPair;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use byrnie_base::DomainName;
use byrnie_base::UnixTime;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;

/// Signs for one domain with one key.
pub struct DkimSigner {
    /// Who answers for the messages: `d=`.
    domain: DomainName,
    /// Under which name the key stands in the DNS: `s=`.
    selector: DomainName,
    /// The key.
    key: SigningKey,
}

/// A key, by its kind.
enum SigningKey {
    /// RSA with at least [`RSA_OCTETS_MIN`].
    Rsa(Box<RsaKeyPair>),
    /// Ed25519: RFC 8463.
    Ed25519(Ed25519KeyPair),
}

impl DkimSigner {
    /// A signer with a private key in PEM: PKCS #8, or PKCS #1 for RSA.
    ///
    /// # Errors
    /// There is no such key in it, or it is too short.
    pub fn new(domain: DomainName, selector: DomainName, pem: &[u8]) -> Result<Self, InvalidKey> {
        let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| InvalidKey::NoKey)?;
        let rsa = match &key {
            PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()),
            PrivateKeyDer::Pkcs8(key) => {
                let octets = key.secret_pkcs8_der();
                if let Ok(key) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(octets) {
                    let key = SigningKey::Ed25519(key);
                    return Ok(Self {
                        domain,
                        selector,
                        key,
                    });
                }
                RsaKeyPair::from_pkcs8(octets)
            }
            PrivateKeyDer::Sec1(_) | _ => return Err(InvalidKey::OfAnotherKind),
        };
        let rsa = rsa.map_err(|_| InvalidKey::OfAnotherKind)?;
        //= https://www.rfc-editor.org/rfc/rfc8301#section-3.2
        //# Signers MUST use RSA keys of at least 1024 bits for all keys.
        // Verifiers are told to expect 2048, and no key of ours need be shorter.
        if rsa.public_modulus_len() < RSA_OCTETS_MIN {
            return Err(InvalidKey::Short);
        }
        let key = SigningKey::Rsa(Box::new(rsa));
        Ok(Self {
            domain,
            selector,
            key,
        })
    }

    /// The name of the record that verifiers look for, and its text: RFC 6376, Section 3.6.
    ///
    /// # Errors
    /// The domain is too long to have a record below it.
    pub fn record(&self) -> Result<(DomainName, String), InvalidKey> {
        let owner = self
            .domain
            .prefixed(&format!("{}._domainkey", self.selector));
        let owner = owner.map_err(|_| InvalidKey::NameTooLong)?;
        let (kind, key) = match &self.key {
            SigningKey::Rsa(key) => {
                let spki: Result<PublicKeyX509Der<'_>, _> = key.public_key().as_der();
                let spki = spki.map_err(|_| InvalidKey::OfAnotherKind)?;
                ("rsa", BASE64_STANDARD.encode(spki.as_ref()))
            }
            SigningKey::Ed25519(key) => {
                let point = key.public_key().as_ref();
                ("ed25519", BASE64_STANDARD.encode(point))
            }
        };
        // Without `s=` the key is for every service. RFC 8460, Section 3, wants `s=tlsrpt`, but who verifies all
        // mail refuses such a key, and dkimpy refuses a list with both.
        Ok((owner, format!("v=DKIM1; k={kind}; p={key}")))
    }

    /// The header field that signs a message, with its line end; it belongs in front of it.
    ///
    /// # Errors
    /// The message has no empty line between header and body, or no `From`.
    pub fn sign(&self, message: &[u8], at: UnixTime) -> Result<String, Unsignable> {
        let (header, body) = split(message).ok_or(Unsignable)?;
        let fields = fields(header);
        let signed: Vec<&Field<'_>> = SIGNED
            .iter()
            .filter_map(|name| fields.iter().rev().find(|field| field.is(name)))
            .collect();
        if !signed.iter().any(|field| field.is("from")) {
            return Err(Unsignable);
        }
        let names: Vec<String> = signed.iter().map(|field| field.lower_name()).collect();
        let lines: Vec<String> = names
            .chunks(NAMES_PER_LINE)
            .map(|line| line.join(":"))
            .collect();
        let algorithm = match self.key {
            SigningKey::Rsa(_) => "rsa-sha256",
            SigningKey::Ed25519(_) => "ed25519-sha256",
        };
        let body_hash = digest::digest(&digest::SHA256, &relaxed_body(body));
        // `from` once more: nobody can add a second one. No `l=`, which RFC 8460, Section 3 forbids.
        let unsigned = format!(
            "DKIM-Signature: v=1; a={algorithm}; c=relaxed/relaxed; d={};\r\n\ts={}; t={};\r\n\t\
             h={}:from;\r\n\tbh={};\r\n\tb=",
            self.domain,
            self.selector,
            at.0,
            lines.join(":\r\n\t "),
            BASE64_STANDARD.encode(body_hash),
        );
        let mut octets = Vec::new();
        for field in &signed {
            octets.extend_from_slice(&field.relaxed());
            octets.extend_from_slice(b"\r\n");
        }
        let own = Field::read(unsigned.as_bytes()).ok_or(Unsignable)?;
        octets.extend_from_slice(&own.relaxed());
        let signature = self.signature_of(&octets)?;
        Ok(format!("{unsigned}{}\r\n", folded(&signature)))
    }

    /// Signs octets; the signature in base64.
    fn signature_of(&self, octets: &[u8]) -> Result<String, Unsignable> {
        let signature = match &self.key {
            SigningKey::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                let padding = &signature::RSA_PKCS1_SHA256;
                key.sign(padding, &SystemRandom::new(), octets, &mut signature)
                    .map_err(|_| Unsignable)?;
                signature
            }
            // RFC 8463, Section 3: what is signed is the hash.
            SigningKey::Ed25519(key) => {
                let hash = digest::digest(&digest::SHA256, octets);
                key.sign(hash.as_ref()).as_ref().to_vec()
            }
        };
        Ok(BASE64_STANDARD.encode(signature))
    }
}

impl fmt::Debug for DkimSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DkimSigner")
            .field("domain", &self.domain)
            .field("selector", &self.selector)
            .finish_non_exhaustive()
    }
}

/// A header field.
struct Field<'a> {
    /// Before the colon.
    name: &'a [u8],
    /// Behind the colon, folded as it is, without the last line end.
    value: &'a [u8],
}

impl<'a> Field<'a> {
    /// Reads a field without its last line end.
    fn read(octets: &'a [u8]) -> Option<Self> {
        let colon = octets.iter().position(|octet| *octet == b':')?;
        let (name, value) = octets.split_at_checked(colon)?;
        Some(Self {
            name,
            value: value.get(1..)?,
        })
    }

    /// Whether it has this name.
    fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// Its name in lower case.
    fn lower_name(&self) -> String {
        String::from_utf8_lossy(self.name).to_ascii_lowercase()
    }

    /// Its relaxed form without a line end: RFC 6376, Section 3.4.2.
    fn relaxed(&self) -> Vec<u8> {
        let mut relaxed = self.name.trim_ascii().to_ascii_lowercase();
        relaxed.push(b':');
        let unfolded = self.value.iter().filter(|octet| !b"\r\n".contains(octet));
        let unfolded: Vec<u8> = unfolded.copied().collect();
        relaxed.extend(single_spaces(unfolded.trim_ascii()));
        relaxed
    }
}

/// Header, with the line end of its last field, and body.
fn split(message: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = message.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some((message.get(..end + 2)?, message.get(end + 4..)?))
}

/// The fields of a header.
fn fields(header: &[u8]) -> Vec<Field<'_>> {
    let mut fields = Vec::new();
    let mut start = 0;
    for (at, pair) in header.windows(2).enumerate() {
        let folded = matches!(header.get(at + 2), Some(b' ' | b'\t'));
        if pair == b"\r\n" && !folded {
            fields.extend(header.get(start..at).and_then(Field::read));
            start = at + 2;
        }
    }
    fields
}

/// The relaxed form of a body: RFC 6376, Section 3.4.4.
fn relaxed_body(body: &[u8]) -> Vec<u8> {
    let mut relaxed = Vec::with_capacity(body.len());
    // Where the last line that is not empty ends.
    let mut end = 0;
    for line in body.split_inclusive(|octet| *octet == b'\n') {
        let text = line.strip_suffix(b"\r\n").unwrap_or(line);
        let mut text = single_spaces(text);
        if text.last() == Some(&b' ') {
            text.pop();
        }
        relaxed.extend_from_slice(&text);
        relaxed.extend_from_slice(b"\r\n");
        if !text.is_empty() {
            end = relaxed.len();
        }
    }
    relaxed.truncate(end);
    relaxed
}

/// Octets with each run of spaces and tabs made one space.
fn single_spaces(octets: &[u8]) -> Vec<u8> {
    let mut single: Vec<u8> = Vec::with_capacity(octets.len());
    for octet in octets {
        match octet {
            b' ' | b'\t' if single.last() == Some(&b' ') => {}
            b' ' | b'\t' => single.push(b' '),
            other => single.push(*other),
        }
    }
    single
}

/// A long text in lines of their own: white space in `b=` does not count.
fn folded(text: &str) -> String {
    let lines: Vec<String> = text
        .as_bytes()
        .chunks(LINE_OCTETS)
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect();
    lines.join("\r\n\t ")
}

/// Why a key cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InvalidKey {
    /// There is no private key in PEM.
    NoKey,
    /// It is neither RSA nor Ed25519.
    OfAnotherKind,
    /// It is an RSA key with fewer bits than verifiers are to expect.
    Short,
    /// Selector and domain are too long together.
    NameTooLong,
}

impl fmt::Display for InvalidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoKey => "there is no private key in PEM in it",
            Self::OfAnotherKind => "the key is neither RSA nor Ed25519",
            Self::Short => "the RSA key has fewer than 2048 bits",
            Self::NameTooLong => "selector and domain are too long together",
        })
    }
}

impl std::error::Error for InvalidKey {}

/// A message without an end of its header, or without `From`: it cannot be signed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Unsignable;

impl fmt::Display for Unsignable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the message has no whole header with a `From`")
    }
}

impl std::error::Error for Unsignable {}

/// The fields that are signed, if they are there: RFC 6376, Section 5.4.1, those of RFC 8460, Section 5.3
/// and RFC 8689's.
const SIGNED: [&str; 11] = [
    "from",
    "to",
    "subject",
    "date",
    "message-id",
    "mime-version",
    "content-type",
    "tls-report-domain",
    "tls-report-submitter",
    "tls-required",
    "auto-submitted",
];

/// The shortest RSA modulus: 2048 bits, which RFC 8301, Section 3.2 recommends.
const RSA_OCTETS_MIN: usize = 256;

/// How many names of fields stand in one line.
const NAMES_PER_LINE: usize = 4;

/// How much of a signature stands in one line.
const LINE_OCTETS: usize = 72;

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::Pkcs8V1Der;
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::ED25519;
    use aws_lc_rs::signature::RSA_PKCS1_2048_8192_SHA256;
    use aws_lc_rs::signature::UnparsedPublicKey;

    use super::*;

    const MESSAGE: &[u8] =
        b"From: <reports@mail.example>\r\nTo: <tls@a.example>\r\nsubject:  a \r\n\t b\r\n\
        Mime-Version: 1.0\r\nTLS-Required: No\r\nX-Other: c\r\n\r\n\
        body \t of   two\r\nlines \r\n\r\n\r\n";

    /// RFC 6376, Section 3.4.5 gives this message and its two forms.
    #[test]
    fn section_3_4_5_the_relaxed_forms() {
        let header = b"A: X\r\nB : Y\t\r\n\tZ  \r\n";
        let relaxed: Vec<Vec<u8>> = fields(header).iter().map(Field::relaxed).collect();
        assert_eq!(relaxed, [b"a:X".as_slice(), b"b:Y Z"]);
        assert_eq!(relaxed_body(b" C \r\nD \t E\r\n\r\n\r\n"), b" C\r\nD E\r\n");
    }

    #[test]
    fn an_empty_body_stays_empty_and_a_last_line_gets_its_end() {
        assert_eq!(relaxed_body(b""), b"");
        assert_eq!(relaxed_body(b"\r\n\r\n"), b"");
        assert_eq!(relaxed_body(b"x"), b"x\r\n");
        assert_eq!(relaxed_body(b" \t\r\n"), b"");
    }

    #[test]
    fn what_is_signed_can_be_verified_with_the_key_of_the_record() {
        for signer in [rsa(), ed25519()] {
            let field = signer.sign(MESSAGE, UnixTime(1_775_001_600)).unwrap();
            assert!(
                field.contains("h=from:to:subject:mime-version:\r\n\t tls-required:from;")
                    && field.contains("t=1775001600;"),
                "{field}"
            );
            assert!(field.lines().all(|line| line.len() <= 78), "{field}");
            // Relays may change white space, and fields that are not signed.
            let moved = b"X-Other: d\r\nFrom:<reports@mail.example>\r\nTo:   <tls@a.example>\r\n\
                Subject: a b\r\nMIME-Version: 1.0\r\nTLS-Required: No\r\n\r\nbody of two\r\nlines\r\n";
            assert!(verifies(&signer, &field, MESSAGE), "{field}");
            assert!(verifies(&signer, &field, moved), "{field}");
            let text = String::from_utf8_lossy(moved);
            for (original, forgery) in [("@mail", "@evil"), ("two", "three"), ("No", "Yes")] {
                let forged = text.replace(original, forgery);
                assert!(!verifies(&signer, &field, forged.as_bytes()), "{forged}");
            }
        }
    }

    #[test]
    fn the_record_stands_below_the_domain_and_says_of_what_kind_the_key_is() {
        let (owner, text) = ed25519().record().unwrap();
        assert_eq!(owner.as_str(), "s1._domainkey.mail.example");
        assert!(text.starts_with("v=DKIM1; k=ed25519; p="), "{text}");
        let (_, text) = rsa().record().unwrap();
        assert!(text.starts_with("v=DKIM1; k=rsa; p=MII"), "{text}");
    }

    #[test]
    fn a_message_without_from_or_without_a_header_is_not_signed() {
        for message in [
            b"To: <tls@a.example>\r\n\r\nbody".as_slice(),
            b"From: <reports@mail.example>",
            b"",
        ] {
            assert_eq!(ed25519().sign(message, UnixTime(0)), Err(Unsignable));
        }
    }

    #[test]
    fn only_keys_that_verifiers_take_are_taken() {
        let new = |pem: &str| DkimSigner::new(name("a.example"), name("s"), pem.as_bytes()).err();
        assert_eq!(new(""), Some(InvalidKey::NoKey));
        let junk = pem(b"junk");
        assert_eq!(new(&junk), Some(InvalidKey::OfAnotherKind));
    }

    fn rsa() -> DkimSigner {
        let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
        signer(der.as_ref())
    }

    fn ed25519() -> DkimSigner {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        signer(key.as_ref())
    }

    fn signer(pkcs8: &[u8]) -> DkimSigner {
        DkimSigner::new(name("mail.example"), name("s1"), pem(pkcs8).as_bytes()).unwrap()
    }

    fn pem(der: &[u8]) -> String {
        let text = BASE64_STANDARD.encode(der);
        format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")
    }

    fn name(text: &str) -> DomainName {
        text.parse().unwrap()
    }

    /// Verifies as a receiver does, by the words of the field itself.
    fn verifies(signer: &DkimSigner, field: &str, message: &[u8]) -> bool {
        let (header, body) = split(message).unwrap();
        let (unsigned, signature) = field.rsplit_once("\tb=").unwrap();
        let hash = BASE64_STANDARD.encode(digest::digest(&digest::SHA256, &relaxed_body(body)));
        let tag = |name: &str| {
            let (_, rest) = field.split_once(&format!("{name}=")).unwrap();
            String::from(rest.split(';').next().unwrap())
        };
        let fields = fields(header);
        let mut octets = Vec::new();
        let names: String = tag("\th").split_ascii_whitespace().collect();
        for signed in names.strip_suffix(":from").unwrap().split(':') {
            let field = fields.iter().find(|field| field.is(signed)).unwrap();
            octets.extend_from_slice(&field.relaxed());
            octets.extend_from_slice(b"\r\n");
        }
        let own = format!("{unsigned}\tb=");
        octets.extend_from_slice(&Field::read(own.as_bytes()).unwrap().relaxed());
        let signature: String = signature.split_ascii_whitespace().collect();
        let signature = BASE64_STANDARD.decode(signature).unwrap();
        let verified = match &signer.key {
            SigningKey::Rsa(key) => {
                let key = key.public_key().as_ref();
                let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key);
                key.verify(&octets, &signature)
            }
            SigningKey::Ed25519(key) => {
                let hash = digest::digest(&digest::SHA256, &octets);
                let key = UnparsedPublicKey::new(&ED25519, key.public_key().as_ref());
                key.verify(hash.as_ref(), &signature)
            }
        };
        verified.is_ok() && tag("bh") == hash
    }
}
