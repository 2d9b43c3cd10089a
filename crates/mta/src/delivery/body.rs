//! A message out of the store, read piece by piece as the host takes it.

use std::io;
use std::sync::Arc;

use byrnie_net::smtp::client::MessageSource;
use byrnie_store::Body;
use byrnie_store::QueueId;
use byrnie_store::Spool;
use byrnie_store::StoreError;

/// Reads a message out of the store; holds one piece at a time.
///
/// It ends only when every octet was read. Whatever else happens is an error, so that no part of a
/// message is taken for the whole.
pub(crate) struct StoredBody<S> {
    spool: Arc<S>,
    id: QueueId,
    /// All pieces, if they are in memory.
    body: Option<Body>,
    /// The place of the piece after the present one.
    next: u32,
    /// Octets that have not been read yet, in all pieces.
    left: u64,
    /// The present piece, if it was read from the disk.
    piece: Vec<u8>,
}

impl<S: Spool> StoredBody<S> {
    /// The message from its first octet on.
    pub(crate) fn new(spool: Arc<S>, id: QueueId, size: u64, body: Option<Body>) -> Self {
        Self {
            spool,
            id,
            body,
            next: 0,
            left: size,
            piece: Vec::new(),
        }
    }
}

impl<S: Spool> MessageSource for StoredBody<S> {
    async fn piece(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            return Ok(&[]);
        }
        let place = self.next;
        self.next = place.saturating_add(1);
        let piece = if let Some(body) = &self.body {
            let piece = usize::try_from(place).ok().and_then(|at| body.piece(at));
            piece.unwrap_or_default()
        } else {
            let piece = self.spool.piece(self.id, place).await;
            self.piece = piece.map_err(unread)?.unwrap_or_default();
            &self.piece
        };
        if piece.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let length = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        self.left = self
            .left
            .checked_sub(length)
            .ok_or(io::ErrorKind::InvalidData)?;
        Ok(piece)
    }
}

/// What it means for the message that a piece could not be read.
fn unread(error: StoreError) -> io::Error {
    if let StoreError::Damaged(what) = error {
        return io::Error::new(io::ErrorKind::InvalidData, what);
    }
    io::Error::other(error)
}

#[cfg(test)]
mod tests {
    use byrnie_store::CHUNK_OCTETS;
    use byrnie_store::Incoming;

    use super::*;
    use crate::Route;
    use crate::acceptance::by_next_hop;
    use crate::testing::LIFETIME;
    use crate::testing::START;
    use crate::testing::envelope;
    use crate::testing::new_store;

    #[tokio::test]
    async fn a_message_is_read_as_it_was_written() {
        for size in [0, 1, CHUNK_OCTETS, CHUNK_OCTETS + 1, 3 * CHUNK_OCTETS - 1] {
            check(size, 0, Ok(())).await;
        }
    }

    #[tokio::test]
    async fn a_message_of_another_size_is_no_message() {
        check(100, 1, Err(io::ErrorKind::UnexpectedEof)).await;
        check(100, -1, Err(io::ErrorKind::InvalidData)).await;
        check(CHUNK_OCTETS, 1, Err(io::ErrorKind::UnexpectedEof)).await;
    }

    async fn check(size: usize, off: i64, expected: Result<(), io::ErrorKind>) {
        let (store, _directory) = new_store();
        let octets: Vec<u8> = (0..size)
            .map(|at| u8::try_from(at % 251).unwrap())
            .collect();
        let mut incoming = Incoming::begin(Arc::clone(&store), START);
        let id = incoming.id();
        incoming.write(&octets).await.unwrap();
        let envelope = envelope("a@origin.example", &["b@one.example"]);
        let (route, expires_at) = (Route::default(), START + LIFETIME);
        let deliveries = by_next_hop(&route, &envelope.recipients, START, expires_at);
        let accepted = incoming.commit(envelope, START, deliveries).await.unwrap();

        let claimed = u64::try_from(size)
            .unwrap()
            .checked_add_signed(off)
            .unwrap();
        for body in [None, accepted.body] {
            let mut read = Vec::new();
            let mut body = StoredBody::new(Arc::clone(&store), id, claimed, body);
            let ended = loop {
                match body.piece().await {
                    Ok([]) => break Ok(()),
                    Ok(piece) => read.extend_from_slice(piece),
                    Err(error) => break Err(error.kind()),
                }
            };
            assert_eq!(ended, expected);
            assert!(expected.is_err() || read == octets);
        }
    }
}
