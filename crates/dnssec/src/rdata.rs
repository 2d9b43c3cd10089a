//! Record data on the wire: names inside it, decompression, canonical form.
//!
//! The validator does not care what most records mean. It needs to know where names lie in their
//! data, because names may be compressed in a message and are lower-cased before they are signed.

use std::borrow::Cow;

use bytes::Bytes;
use domain::base::iana::Rtype;

use crate::wire::Cursor;
use crate::wire::Unreadable;

/// Reads the data of one record, which is all that is left in `data`; names come out uncompressed.
///
/// Signatures and NSEC records must not have compressed names (RFC 4034, Sections 3.1.7 and 4.1.1);
/// those that have are read all the same, since their signatures are over what comes out.
///
/// The octets are a copy, so that what is kept of a record does not keep the whole message.
///
/// # Errors
/// The data is too short or too long for its type, or a name in it is broken.
pub(crate) fn read(rtype: Rtype, data: &mut Cursor<'_>) -> Result<Bytes, Unreadable> {
    let Some(fields) = layout(rtype) else {
        return Ok(Bytes::copy_from_slice(&data.octets(data.remaining())?));
    };
    let mut octets = Vec::with_capacity(data.remaining());
    for field in fields {
        match field {
            Field::Octets(count) => octets.extend_from_slice(&data.octets(*count)?),
            Field::Text => {
                let length = data.octet()?;
                octets.push(length);
                octets.extend_from_slice(&data.octets(usize::from(length))?);
            }
            Field::Name | Field::NameAsIs => octets.extend_from_slice(data.name()?.as_slice()),
            Field::Rest => octets.extend_from_slice(&data.octets(data.remaining())?),
        }
    }
    if data.remaining() > 0 {
        return Err(data.fault("the record data goes on behind its end"));
    }
    if octets.len() > usize::from(u16::MAX) {
        return Err(data.fault("the record data is longer than 65,535 octets"));
    }
    Ok(octets.into())
}

/// The canonical form of uncompressed record data: RFC 4034, Section 6.2, as RFC 6840, Section 5.1 corrects it.
///
/// `data` must have come out of [`read`].
pub(crate) fn canonical(rtype: Rtype, data: &[u8]) -> Cow<'_, [u8]> {
    let Some(fields) = layout(rtype) else {
        return Cow::Borrowed(data);
    };
    let mut octets = data.to_vec();
    let mut rest = octets.as_mut_slice();
    for field in fields {
        let length = match field {
            Field::Octets(count) => *count,
            Field::Text => rest.first().map_or(0, |length| usize::from(*length) + 1),
            Field::Name | Field::NameAsIs => name_length(rest),
            Field::Rest => rest.len(),
        };
        let Some((head, tail)) = rest.split_at_mut_checked(length) else {
            break;
        };
        if matches!(field, Field::Name) {
            // Length octets are below the letters, so they stay as they are.
            head.make_ascii_lowercase();
        }
        rest = tail;
    }
    Cow::Owned(octets)
}

/// The length of the uncompressed name at the start of `data`.
fn name_length(data: &[u8]) -> usize {
    let mut length = 0;
    while let Some(label) = data.get(length).filter(|label| **label > 0) {
        length += usize::from(*label) + 1;
    }
    length + 1
}

/// A stretch of record data.
enum Field {
    /// A name that is lower-cased in canonical form.
    Name,
    /// A name that keeps its case: NSEC's, by RFC 6840, Section 5.1.
    NameAsIs,
    /// So many octets.
    Octets(usize),
    /// Whatever remains.
    Rest,
    /// An octet with a length, and so many octets.
    Text,
}

/// How the data of a type is laid out, if there are names in it that the validator must know of.
///
/// Types that are newer than RFC 3597 neither compress nor lower-case their names: none needs a row.
fn layout(rtype: Rtype) -> Option<&'static [Field]> {
    use Field::{Name, NameAsIs, Octets, Rest, Text};
    const ROWS: &[(Rtype, &[Field])] = &[
        (Rtype::NS, &[Name]),
        (Rtype::MD, &[Name]),
        (Rtype::MF, &[Name]),
        (Rtype::CNAME, &[Name]),
        (Rtype::SOA, &[Name, Name, Octets(20)]),
        (Rtype::MB, &[Name]),
        (Rtype::MG, &[Name]),
        (Rtype::MR, &[Name]),
        (Rtype::PTR, &[Name]),
        (Rtype::MINFO, &[Name, Name]),
        (Rtype::MX, &[Octets(2), Name]),
        (Rtype::RP, &[Name, Name]),
        (Rtype::AFSDB, &[Octets(2), Name]),
        (Rtype::RT, &[Octets(2), Name]),
        (Rtype::SIG, &[Octets(18), Name, Rest]),
        (Rtype::PX, &[Octets(2), Name, Name]),
        (Rtype::NXT, &[Name, Rest]),
        (Rtype::SRV, &[Octets(6), Name]),
        (Rtype::NAPTR, &[Octets(4), Text, Text, Text, Name]),
        (Rtype::KX, &[Octets(2), Name]),
        (Rtype::DNAME, &[Name]),
        (Rtype::RRSIG, &[Octets(18), Name, Rest]),
        (Rtype::NSEC, &[NameAsIs, Rest]),
    ];
    ROWS.iter()
        .find(|(row, _)| *row == rtype)
        .map(|(_, fields)| *fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::HEADER_OCTETS;

    #[test]
    fn names_of_old_types_are_lower_cased_and_others_are_not() {
        check(Rtype::MX, b"\x00\x0a\x02MX\x00", b"\x00\x0a\x02mx\x00");
        check(Rtype::CNAME, b"\x01A\x01B\x00", b"\x01a\x01b\x00");
        check(
            Rtype::SRV,
            b"ABCDEF\x01T\x00",
            b"ABCDEF\x01t\x00", // priority, weight and port are octets, not letters
        );
        check(
            Rtype::NAPTR,
            b"\x00A\x00B\x01S\x03E2U\x01!\x01R\x00",
            b"\x00A\x00B\x01S\x03E2U\x01!\x01r\x00",
        );
        check(Rtype::NSEC, b"\x01N\x00\x00\x01A", b"\x01N\x00\x00\x01A");
        check(Rtype::TXT, b"\x03ABC", b"\x03ABC");
        check(
            Rtype::from_int(64),
            b"\x00\x01\x01S\x00",
            b"\x00\x01\x01S\x00",
        );
    }

    #[test]
    fn data_that_does_not_fit_its_type_is_an_error() {
        check_fault(Rtype::MX, b"", (0, "the message ends too early"));
        check_fault(Rtype::MX, b"\x00\x0a", (2, "the message ends too early"));
        let behind = "the record data goes on behind its end";
        check_fault(Rtype::CNAME, b"\x00\x00", (1, behind));
        check_fault(
            Rtype::SOA,
            b"\x00\x00short",
            (2, "the message ends too early"),
        );
        check_fault(Rtype::CNAME, b"\xc0\x0c", (0, "a name does not point back"));
        check_fault(
            Rtype::CNAME,
            b"\x41a\x00",
            (0, "a label of an unknown kind"),
        );
        check_fault(Rtype::RRSIG, &[0; 17], (0, "the message ends too early"));
        check_fault(Rtype::NSEC, b"", (0, "the message ends too early"));

        #[track_caller]
        fn check_fault(rtype: Rtype, data: &[u8], expected: (usize, &'static str)) {
            let why = read_behind_header(rtype, data).unwrap_err();
            assert_eq!((why.offset - HEADER_OCTETS, why.what), expected, "{data:?}");
        }
    }

    #[track_caller]
    fn check(rtype: Rtype, data: &'static [u8], expected: &[u8]) {
        let read = read_behind_header(rtype, data).unwrap();
        assert_eq!(read, data);
        assert_eq!(canonical(rtype, &read), expected);
    }

    fn read_behind_header(rtype: Rtype, data: &[u8]) -> Result<Bytes, Unreadable> {
        let message = Bytes::from([&[0; HEADER_OCTETS], data].concat());
        let mut cursor = Cursor::new(&message);
        cursor.octets(HEADER_OCTETS)?;
        read(rtype, &mut cursor)
    }
}
