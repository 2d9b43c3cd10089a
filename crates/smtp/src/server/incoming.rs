//! One message as it comes in, by `DATA` or by `BDAT`.

use crate::BodyEnd;
use crate::BodyReader;
use crate::Chunk;
use crate::ChunkPosition;
use crate::Framing;
use crate::Octets;
use crate::Reply;
use crate::replies;
use crate::server::ServerLimits;

/// One message as it comes in.
///
/// A message that is refused is read to its end all the same, so that the client gets the reply where
/// it looks for it; how much is read in vain is bounded.
#[derive(Debug)]
pub(super) struct Incoming {
    /// Finds the end, and takes the dots off.
    reader: BodyReader,
    /// What still belongs to the message, or to the chunk.
    extent: Extent,
    /// How many octets the message has so far.
    octets: u64,
    /// How many octets were read off the wire.
    wire_octets: u64,
    /// Whether the service knows of the message.
    service: ServiceState,
    /// Why the message is refused.
    refusal: Option<Reply>,
}

impl Incoming {
    /// A message that `DATA` announced.
    pub(super) fn with_dot(limits: &ServerLimits) -> Self {
        Self::new(Framing::Dot, Extent::Dot, limits)
    }

    /// A message whose first chunk `BDAT` announced.
    pub(super) fn with_chunks(chunk: Chunk, limits: &ServerLimits) -> Self {
        Self::new(Framing::Counted, Extent::of(chunk), limits)
    }

    /// A chunk that is read in vain.
    pub(super) fn refused_chunk(chunk: Chunk, limits: &ServerLimits, reply: Reply) -> Self {
        Self {
            refusal: Some(reply),
            ..Self::with_chunks(chunk, limits)
        }
    }

    /// A message that begins.
    fn new(framing: Framing, extent: Extent, limits: &ServerLimits) -> Self {
        Self {
            reader: BodyReader::new(framing, limits.text_line_octets),
            extent,
            octets: 0,
            wire_octets: 0,
            service: ServiceState::Unaware,
            refusal: None,
        }
    }

    /// Goes on with a further chunk.
    pub(super) fn next_chunk(&mut self, chunk: Chunk) {
        self.extent = Extent::of(chunk);
    }

    /// Notes that the service has begun to take the message.
    pub(super) fn begun(&mut self) {
        self.service = ServiceState::Taking;
    }

    /// Notes that the service wants no more of the message.
    pub(super) fn refused_by_service(&mut self, reply: Reply) {
        self.service = ServiceState::Unaware;
        self.refusal.get_or_insert(reply);
    }

    /// Reads a piece, and puts what the message holds of it into `out`, which is empty.
    ///
    /// Says how many octets it took, and what comes next.
    pub(super) fn read(
        &mut self,
        input: &[u8],
        limits: &ServerLimits,
        out: &mut Vec<u8>,
    ) -> (usize, IncomingStep) {
        // No message within the limit needs more than this, even if all its lines begin with dots.
        let wire_octets_max = limits.message_octets.saturating_mul(2).saturating_add(3);
        let wire_room = wire_octets_max.saturating_sub(self.wire_octets);
        let room = match self.extent {
            Extent::Dot | Extent::DotReached => wire_room,
            Extent::Chunk { left, .. } => wire_room.min(left),
        };
        let room = usize::try_from(room).unwrap_or(usize::MAX).min(input.len());
        let input = input
            .split_at_checked(room)
            .map_or(input, |(piece, _)| piece);
        let (consumed, end) = self.reader.read(input, out);
        self.count(consumed);
        self.extent.note(end);
        self.octets = self.octets.saturating_add(length(out.len()));
        self.wire_octets = self.wire_octets.saturating_add(length(consumed));
        self.judge(limits);
        if self.refusal.is_some() {
            out.clear();
            if self.service == ServiceState::Taking {
                self.service = ServiceState::Unaware;
                return (consumed, IncomingStep::Abort);
            }
        }
        let step = if !out.is_empty() {
            IncomingStep::Write
        } else if self.wire_octets >= wire_octets_max && self.step() == IncomingStep::Read {
            IncomingStep::GiveUp
        } else {
            self.step()
        };
        (consumed, step)
    }

    /// What comes next, as far as it does not depend on further octets.
    pub(super) fn step(&self) -> IncomingStep {
        match self.extent {
            Extent::Dot | Extent::Chunk { left: 1.., .. } => IncomingStep::Read,
            Extent::DotReached
            | Extent::Chunk {
                left: 0,
                chunk:
                    Chunk {
                        position: ChunkPosition::Last,
                        ..
                    },
            } => IncomingStep::End,
            Extent::Chunk { left: 0, chunk } => IncomingStep::ChunkEnd(chunk.octets),
        }
    }

    /// Judges the message as a whole, once it is complete; says whether the service must forget it.
    pub(super) fn complete(&mut self, limits: &ServerLimits) -> IncomingStep {
        self.reader.finish();
        self.judge(limits);
        if self.refusal.is_some() && self.service == ServiceState::Taking {
            self.service = ServiceState::Unaware;
            return IncomingStep::Abort;
        }
        IncomingStep::End
    }

    /// Why the message is refused, if it is.
    pub(super) fn refusal(&self) -> Option<&Reply> {
        self.refusal.as_ref()
    }

    /// Whether the service holds part of the message.
    pub(super) fn is_taken_by_service(&self) -> bool {
        self.service == ServiceState::Taking
    }

    /// What octets the message held so far.
    pub(super) fn content(&self) -> Octets {
        self.reader.octets()
    }

    /// Whether the two sides may not agree on where the message ended, so that nothing that follows
    /// may be understood as a command.
    pub(super) fn end_is_doubtful(&self) -> bool {
        let by_dot = matches!(self.extent, Extent::Dot | Extent::DotReached);
        by_dot
            && self
                .reader
                .fault()
                .is_some_and(crate::BodyFault::is_line_end)
    }

    /// Counts octets of a chunk off.
    fn count(&mut self, consumed: usize) {
        if let Extent::Chunk { left, .. } = &mut self.extent {
            *left = left.saturating_sub(length(consumed));
        }
    }

    /// Refuses the message where it breaks a bound or a rule.
    fn judge(&mut self, limits: &ServerLimits) {
        if self.refusal.is_some() {
            return;
        }
        if let Some(fault) = self.reader.fault() {
            self.refusal = Some(replies::bad_body(fault));
        } else if self.octets > limits.message_octets {
            self.refusal = Some(replies::message_too_big(limits.message_octets));
        }
    }
}

/// What comes next for a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum IncomingStep {
    /// The service must forget what it holds.
    Abort,
    /// A chunk is complete that had so many octets, and more follow.
    ChunkEnd(u64),
    /// The message is complete.
    End,
    /// So much was read in vain that the session must end.
    GiveUp,
    /// More must be read.
    Read,
    /// The service must take what was read.
    Write,
}

/// What still belongs to a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Extent {
    /// All up to a line with a dot.
    Dot,
    /// The line with a dot was read.
    DotReached,
    /// So many octets of a chunk.
    Chunk {
        /// How many octets have not been read.
        left: u64,
        /// What was announced.
        chunk: Chunk,
    },
}

impl Extent {
    /// All of a chunk.
    fn of(chunk: Chunk) -> Self {
        Self::Chunk {
            left: chunk.octets,
            chunk,
        }
    }

    /// Notes that the line with a dot was read.
    fn note(&mut self, end: BodyEnd) {
        if *self == Self::Dot && end == BodyEnd::Reached {
            *self = Self::DotReached;
        }
    }
}

/// Whether the service knows of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum ServiceState {
    /// It does not, or has forgotten it.
    Unaware,
    /// It holds part of it.
    Taking,
}

/// A length as a number of octets.
fn length(octets: usize) -> u64 {
    u64::try_from(octets).unwrap_or(u64::MAX)
}
