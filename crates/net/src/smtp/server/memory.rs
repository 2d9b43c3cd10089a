//! The memory of all messages under way, within one bound.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::AcquireError;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;
use tokio::sync::TryAcquireError;
use tokio::time::timeout;

/// The memory of all messages under way.
///
/// Where messages come in faster than the disk takes them, it runs out: first clients are no longer
/// read from, then messages are refused for the time being.
#[derive(Debug)]
pub(super) struct Memory {
    /// One permit for each free octet.
    free: Arc<Semaphore>,
}

impl Memory {
    /// So many octets.
    pub(super) fn new(octets: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(octets.min(Semaphore::MAX_PERMITS))),
        }
    }

    /// Room for a message that begins; waits a little where there is none.
    pub(super) async fn begin(&self) -> Result<Room, NoRoom> {
        let held = take(&self.free, FIRST_ROOM_OCTETS).await?;
        Ok(Room { held })
    }
}

/// The room that one message has; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Room {
    /// One permit for each octet.
    held: OwnedSemaphorePermit,
}

impl Room {
    /// Makes room for a message that holds so much, and for what is read next; waits a little where
    /// there is none.
    pub(super) async fn fit(&mut self, octets: usize) -> Result<(), NoRoom> {
        let wanted = octets
            .saturating_add(MESSAGE_READ_OCTETS)
            .max(FIRST_ROOM_OCTETS);
        let held = self.held.num_permits();
        if let Some(surplus) = held.checked_sub(wanted) {
            drop(self.held.split(surplus));
            return Ok(());
        }
        let more = take(self.held.semaphore(), wanted - held).await?;
        self.held.merge(more);
        Ok(())
    }
}

/// There was no room, and it took too long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct NoRoom;

impl From<AcquireError> for NoRoom {
    fn from(_: AcquireError) -> Self {
        Self
    }
}

/// Takes octets, and waits a little where there are not as many.
async fn take(free: &Arc<Semaphore>, octets: usize) -> Result<OwnedSemaphorePermit, NoRoom> {
    let octets = u32::try_from(octets).map_err(|_| NoRoom)?;
    match Arc::clone(free).try_acquire_many_owned(octets) {
        Ok(taken) => Ok(taken),
        Err(TryAcquireError::Closed) => Err(NoRoom),
        Err(TryAcquireError::NoPermits) => {
            let taken = Arc::clone(free).acquire_many_owned(octets);
            Ok(timeout(ROOM_WAIT_MAX, taken).await.map_err(|_| NoRoom)??)
        }
    }
}

/// How much is read at once of a message.
pub(super) const MESSAGE_READ_OCTETS: usize = 64 * 1_024;

/// The room that each message has from its beginning: most are smaller than this, what is read of them
/// at once included, and need no more.
const FIRST_ROOM_OCTETS: usize = 2 * MESSAGE_READ_OCTETS;

/// How long a message waits for room: long enough for the disk to catch up, and far shorter than
/// clients wait for the reply (RFC 5321, Section 4.5.3.2.4: two minutes).
const ROOM_WAIT_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_message_waits_for_room_and_not_for_ever() {
        let memory = Memory::new(FIRST_ROOM_OCTETS + 100);
        let first = memory.begin().await.unwrap();
        let begun = tokio::time::Instant::now();
        assert_eq!(memory.begin().await.err(), Some(NoRoom));
        assert_eq!(begun.elapsed(), ROOM_WAIT_MAX);
        let (second, ()) = tokio::join!(memory.begin(), async { drop(first) });
        assert!(second.is_ok());
        assert_eq!(begun.elapsed(), ROOM_WAIT_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn room_grows_and_shrinks_with_what_the_message_holds() {
        let memory = Memory::new(4 * FIRST_ROOM_OCTETS);
        let free = || memory.free.available_permits();
        let mut room = memory.begin().await.unwrap();
        room.fit(FIRST_ROOM_OCTETS).await.unwrap();
        assert_eq!(free(), 3 * FIRST_ROOM_OCTETS - MESSAGE_READ_OCTETS);
        room.fit(0).await.unwrap();
        assert_eq!(free(), 3 * FIRST_ROOM_OCTETS);
        assert_eq!(room.fit(4 * FIRST_ROOM_OCTETS).await, Err(NoRoom));
        drop(room);
        assert_eq!(free(), 4 * FIRST_ROOM_OCTETS);
    }
}
