//! The input of a target, read as orders.

/// Octets that are taken from the front; beyond the end there are zeros.
pub(super) struct Script<'a>(pub(super) &'a [u8]);

impl<'a> Script<'a> {
    /// The next octet.
    pub(super) const fn octet(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    /// The next two octets as a number.
    pub(super) const fn short(&mut self) -> u16 {
        u16::from_be_bytes([self.octet(), self.octet()])
    }

    /// A place in a list of so many.
    pub(super) fn place(&mut self, count: usize) -> usize {
        usize::from(self.octet()) % count.max(1)
    }

    /// One of the items.
    pub(super) fn pick<T: Copy>(&mut self, items: &[T]) -> Option<T> {
        let place = self.place(items.len());
        items.get(place).copied()
    }

    /// As many octets as the next octet says, or what is left.
    pub(super) fn octets(&mut self) -> &'a [u8] {
        let length = usize::from(self.octet()).min(self.0.len());
        let (head, tail) = self.0.split_at(length);
        self.0 = tail;
        head
    }

    /// Whether there are no more orders.
    pub(super) const fn is_over(&self) -> bool {
        self.0.is_empty()
    }
}
