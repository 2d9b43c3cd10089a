//! A message out of the store, read piece by piece as the host takes it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;

use byrnie_store::QueueId;
use byrnie_store::Spool;
use byrnie_store::StoreError;
use tokio::io::AsyncRead;
use tokio::io::ReadBuf;

/// Reads a message out of the store; holds one piece at a time.
///
/// Ends as any reader does only when every octet was read. Whatever else happens is an error, so that
/// no part of a message is taken for the whole.
pub(crate) struct StoredBody<S> {
    spool: Arc<S>,
    id: QueueId,
    /// The place of the piece after the present one.
    next: u32,
    /// Octets that have not been read yet, in all pieces.
    left: u64,
    piece: Vec<u8>,
    /// Octets of the piece that have been read.
    read: usize,
    fetching: Option<Fetching>,
}

/// A piece on its way from the disk.
struct Fetching(Pin<Box<dyn Future<Output = Fetched> + Send>>);

/// A piece, if there is one.
struct Fetched(Result<Option<Vec<u8>>, StoreError>);

impl<S: Spool> StoredBody<S> {
    /// The message from its first octet on.
    pub(crate) fn new(spool: Arc<S>, id: QueueId, size: u64) -> Self {
        Self {
            spool,
            id,
            next: 0,
            left: size,
            piece: Vec::new(),
            read: 0,
            fetching: None,
        }
    }

    /// Asks for the next piece.
    fn fetch(&mut self) -> Fetching {
        let (spool, id, place) = (Arc::clone(&self.spool), self.id, self.next);
        self.next = self.next.saturating_add(1);
        Fetching(Box::pin(
            async move { Fetched(spool.piece(id, place).await) },
        ))
    }

    /// Takes a piece that has come.
    fn take(&mut self, Fetched(fetched): Fetched) -> io::Result<()> {
        let piece = fetched.map_err(io::Error::other)?;
        let piece = piece.filter(|piece| !piece.is_empty());
        let piece = piece.ok_or(io::ErrorKind::UnexpectedEof)?;
        let length = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        self.left = self
            .left
            .checked_sub(length)
            .ok_or(io::ErrorKind::InvalidData)?;
        self.piece = piece;
        self.read = 0;
        Ok(())
    }
}

impl<S: Spool> AsyncRead for StoredBody<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            let unread = this.piece.get(this.read..).unwrap_or_default();
            if !unread.is_empty() {
                let (now, _) = unread.split_at(unread.len().min(buffer.remaining()));
                buffer.put_slice(now);
                this.read += now.len();
                return Poll::Ready(Ok(()));
            }
            if this.left == 0 {
                return Poll::Ready(Ok(()));
            }
            let mut fetching = match this.fetching.take() {
                Some(fetching) => fetching,
                None => this.fetch(),
            };
            let Poll::Ready(fetched) = fetching.0.as_mut().poll(context) else {
                this.fetching = Some(fetching);
                return Poll::Pending;
            };
            this.take(fetched)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use byrnie_store::CHUNK_OCTETS;
    use byrnie_store::Incoming;
    use tokio::io::AsyncReadExt;

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
        incoming.commit(envelope, START, deliveries).await.unwrap();

        let claimed = u64::try_from(size)
            .unwrap()
            .checked_add_signed(off)
            .unwrap();
        let mut read = Vec::new();
        let mut body = StoredBody::new(store, id, claimed);
        let ended = body.read_to_end(&mut read).await;
        assert_eq!(ended.map(|_| ()).map_err(|error| error.kind()), expected);
        assert!(expected.is_err() || read == octets);
    }
}
