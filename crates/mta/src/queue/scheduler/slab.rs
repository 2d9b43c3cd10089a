//! Values that are named by small numbers.

/// Values in one block of memory. The numbers of those that are gone are given to new ones.
#[derive(Debug)]
pub(super) struct Slab<T> {
    slots: Vec<Slot<T>>,
    /// The slot that was given up last.
    free: Option<u32>,
    /// How many values there are.
    length: usize,
}

/// Room for one value.
#[derive(Debug)]
enum Slot<T> {
    /// A value.
    Taken(T),
    /// None; and the slot that was given up before.
    Free(Option<u32>),
}

impl<T> Slab<T> {
    /// Nothing.
    pub(super) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: None,
            length: 0,
        }
    }

    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Puts a value in and gives its number; `None` if there are as many as there are numbers.
    pub(super) fn insert(&mut self, value: T) -> Option<u32> {
        let taken = Slot::Taken(value);
        let number = match self.free {
            Some(number) => {
                let slot = self.slots.get_mut(usize::try_from(number).ok()?)?;
                if let Slot::Free(next) = std::mem::replace(slot, taken) {
                    self.free = next;
                }
                number
            }
            None => {
                let number = u32::try_from(self.slots.len()).ok()?;
                self.slots.push(taken);
                number
            }
        };
        self.length += 1;
        Some(number)
    }

    /// Takes a value out.
    pub(super) fn remove(&mut self, number: u32) -> Option<T> {
        let slot = self.slots.get_mut(usize::try_from(number).ok()?)?;
        match std::mem::replace(slot, Slot::Free(self.free)) {
            Slot::Taken(value) => {
                self.free = Some(number);
                self.length -= 1;
                Some(value)
            }
            free @ Slot::Free(_) => {
                *slot = free;
                None
            }
        }
    }

    /// The value of this number.
    pub(super) fn get(&self, number: u32) -> Option<&T> {
        match self.slots.get(usize::try_from(number).ok()?)? {
            Slot::Taken(value) => Some(value),
            Slot::Free(_) => None,
        }
    }

    /// The value of this number, to be changed.
    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        match self.slots.get_mut(usize::try_from(number).ok()?)? {
            Slot::Taken(value) => Some(value),
            Slot::Free(_) => None,
        }
    }

    /// All values.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(|slot| match slot {
            Slot::Taken(value) => Some(value),
            Slot::Free(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_what_is_gone_are_used_again() {
        let mut slab = Slab::new();
        let numbers: Vec<u32> = (0..3).map(|value| slab.insert(value).unwrap()).collect();
        assert_eq!(numbers, [0, 1, 2]);
        assert_eq!(slab.remove(0), Some(0));
        assert_eq!(slab.remove(2), Some(2));
        assert_eq!((slab.remove(2), slab.get(2), slab.len()), (None, None, 1));
        assert_eq!(slab.insert(7), Some(2));
        assert_eq!(slab.insert(8), Some(0));
        assert_eq!(slab.insert(9), Some(3));
        assert_eq!(slab.iter().copied().collect::<Vec<i32>>(), [8, 1, 7, 9]);
    }
}
