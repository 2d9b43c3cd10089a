//! Messages that are written octet by octet, so that anything can be wrong with them.

use domain::base::Name;

/// A message under construction.
#[derive(Clone)]
pub(crate) struct Octets(pub(crate) Vec<u8>);

impl Octets {
    /// The header of an answer with these flags, and the numbers of questions and records.
    pub(crate) fn with_flags(flags: u16, counts: [u16; 4]) -> Self {
        counts
            .into_iter()
            .fold(Self(vec![0, 0]).short(flags), Self::short)
    }

    /// The header of a usual answer, and the question for `www.org. A`.
    ///
    /// It has 25 octets; `www.org.` stands at 12, `org.` at 16.
    pub(crate) fn answer(records: [u16; 3]) -> Self {
        let [answer, authority, additional] = records;
        Self::with_flags(0x8180, [1, answer, authority, additional]).question("www.org.", 1, 1)
    }

    /// A question.
    pub(crate) fn question(self, name: &str, rtype: u16, class: u16) -> Self {
        self.name(name).short(rtype).short(class)
    }

    /// A record at `www.org.`, by a pointer; its data begins after 12 octets.
    pub(crate) fn record(self, rtype: u16, data: &[u8]) -> Self {
        let length = u16::try_from(data.len()).unwrap();
        self.pointer(12).fixed(rtype, 1, length).raw(data)
    }

    /// What stands between the owner and the data.
    pub(crate) fn fixed(self, rtype: u16, class: u16, length: u16) -> Self {
        self.short(rtype)
            .short(class)
            .raw(&3_600_u32.to_be_bytes())
            .short(length)
    }

    /// A name without compression.
    pub(crate) fn name(self, text: &str) -> Self {
        let name = Name::bytes_from_str(text).unwrap();
        self.raw(name.as_slice())
    }

    /// A label as long as said, without the rest of the name.
    pub(crate) fn label(self, octets: u8) -> Self {
        self.raw(&[octets]).raw(&vec![b'x'; usize::from(octets)])
    }

    /// A pointer.
    pub(crate) fn pointer(self, to: u16) -> Self {
        self.short(0xc000 | to)
    }

    /// 16 bits.
    pub(crate) fn short(self, value: u16) -> Self {
        self.raw(&value.to_be_bytes())
    }

    /// Octets as they are.
    pub(crate) fn raw(mut self, octets: &[u8]) -> Self {
        self.0.extend_from_slice(octets);
        self
    }
}
