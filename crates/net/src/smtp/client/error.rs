//! Why an attempt to send mail failed, by whose fault, and what to do about it.

use std::fmt;
use std::io;
use std::time::Duration;

use byrnie_smtp::ClientError;
use byrnie_smtp::ClientFault;
use byrnie_smtp::ClientPhase;
use byrnie_smtp::EnhancedStatus;
use byrnie_smtp::Reply;
use byrnie_smtp::Unsupported;
use rustix::io::Errno;

use crate::tls::TlsFailure;

/// Why an attempt to send mail failed, and how far it came.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptError {
    /// What the attempt waited for.
    pub phase: ClientPhase,
    /// What went wrong.
    pub fault: AttemptFault,
}

/// What went wrong in an attempt, split by whose fault it is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum AttemptFault {
    /// The network's: the connection could not be made, or broke.
    Network(io::ErrorKind),
    /// The server's, or the network's: nothing came in this time.
    Timeout(Duration),
    /// The server's: what it said, or that it wants no session.
    Server(ClientFault),
    /// The server lacks an extension that the message needs; nothing of it was sent.
    Unsupported(Unsupported),
    /// The server's, or somebody's on the way: TLS is demanded, and not offered.
    StartTlsNotOffered,
    /// The server's, or somebody's on the way: TLS is demanded, and refused.
    StartTlsRefused(Reply),
    /// The server's, or somebody's on the way: the handshake failed, or did not prove what was
    /// demanded.
    Tls(TlsFailure),
    /// Ours: the message could not be read.
    Message(io::ErrorKind),
    /// Ours: the host or its network has as many connections as it may, and none became free in time.
    Crowded,
    /// Ours: this machine has no room for another connection, or nothing to make it from.
    Exhausted(Shortage),
}

impl AttemptFault {
    /// Why a connection could not be made.
    pub(super) fn of_dialling(error: &io::Error) -> Self {
        match Shortage::behind(error) {
            Some(shortage) => Self::Exhausted(shortage),
            None => Self::Network(error.kind()),
        }
    }
}

/// What this machine is short of when it cannot even begin a connection.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Shortage {
    /// The process has as many files open as it may.
    Files,
    /// The system has as many files open as it may.
    SystemFiles,
    /// The kernel has no memory for it.
    Memory,
    /// There is no address of this family to connect from, or no port left on it.
    Addresses,
}

impl Shortage {
    /// The shortage behind an error, which the standard library puts among those without a name.
    pub(super) fn behind(error: &io::Error) -> Option<Self> {
        match Errno::from_io_error(error)? {
            Errno::MFILE => Some(Self::Files),
            Errno::NFILE => Some(Self::SystemFiles),
            Errno::NOBUFS | Errno::NOMEM => Some(Self::Memory),
            Errno::ADDRNOTAVAIL => Some(Self::Addresses),
            _ => None,
        }
    }

    /// Whether another try at once may do; an address does not come by waiting.
    #[must_use]
    pub fn is_passing(self) -> bool {
        match self {
            Self::Files | Self::SystemFiles | Self::Memory => true,
            Self::Addresses => false,
        }
    }
}

/// What to do after a failed attempt.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum RetryClass {
    /// Try this message later.
    Defer,
    /// Do not try again: tell the sender.
    Bounce,
    /// What was demanded was not proven: try another host, else later.
    SecurityDefer,
    /// Nothing was wrong with the message: try another host, else later.
    NextHost,
}

impl AttemptError {
    /// What to do after it: behaviour rules 34 and 43.
    #[must_use]
    pub fn retry_class(&self) -> RetryClass {
        match &self.fault {
            AttemptFault::StartTlsNotOffered
            | AttemptFault::StartTlsRefused(_)
            | AttemptFault::Tls(_)
            | AttemptFault::Server(ClientFault::InjectedBeforeTls) => RetryClass::SecurityDefer,
            // Another host of the domain may offer it; the sender is told after the last.
            AttemptFault::Unsupported(Unsupported::RequireTls) => RetryClass::NextHost,
            AttemptFault::Unsupported(_) => RetryClass::Bounce,
            AttemptFault::Message(_) => RetryClass::Defer,
            AttemptFault::Crowded | AttemptFault::Exhausted(_) => RetryClass::NextHost,
            AttemptFault::Network(_) | AttemptFault::Timeout(_) | AttemptFault::Server(_) => {
                self.class_by_phase()
            }
        }
    }

    /// Whether nobody seems to be there: no connection, or one on which nothing is said.
    #[must_use]
    pub fn is_silence(&self) -> bool {
        let silent = match &self.fault {
            AttemptFault::Network(_) | AttemptFault::Timeout(_) => true,
            AttemptFault::Server(_)
            | AttemptFault::Unsupported(_)
            | AttemptFault::StartTlsNotOffered
            | AttemptFault::StartTlsRefused(_)
            | AttemptFault::Tls(_)
            | AttemptFault::Message(_)
            | AttemptFault::Crowded
            | AttemptFault::Exhausted(_) => false,
        };
        silent && matches!(self.phase, ClientPhase::Connect | ClientPhase::Greeting)
    }

    /// The result type for a TLS report, if this is one of TLS's failures: RFC 8460, Section 4.3.
    #[must_use]
    pub fn result_type(&self) -> Option<&'static str> {
        match &self.fault {
            AttemptFault::StartTlsNotOffered | AttemptFault::StartTlsRefused(_) => {
                Some("starttls-not-supported")
            }
            AttemptFault::Tls(failure) => Some(failure.result_type()),
            AttemptFault::Server(ClientFault::InjectedBeforeTls) => Some("validation-failure"),
            AttemptFault::Network(_) | AttemptFault::Timeout(_)
                if self.phase == ClientPhase::Handshake =>
            {
                Some("validation-failure")
            }
            AttemptFault::Network(_)
            | AttemptFault::Timeout(_)
            | AttemptFault::Server(_)
            | AttemptFault::Unsupported(_)
            | AttemptFault::Message(_)
            | AttemptFault::Crowded
            | AttemptFault::Exhausted(_) => None,
        }
    }

    /// Whether the connection was closed before the server answered the first command of a transaction.
    pub(super) fn is_of_closed_connection(&self) -> bool {
        let closed = match &self.fault {
            AttemptFault::Network(_) | AttemptFault::Server(ClientFault::Closing(_)) => true,
            AttemptFault::Timeout(_)
            | AttemptFault::Server(_)
            | AttemptFault::Unsupported(_)
            | AttemptFault::StartTlsNotOffered
            | AttemptFault::StartTlsRefused(_)
            | AttemptFault::Tls(_)
            | AttemptFault::Message(_)
            | AttemptFault::Crowded
            | AttemptFault::Exhausted(_) => false,
        };
        closed && self.phase == ClientPhase::Mail
    }

    /// What the server said, if that is why it failed.
    #[must_use]
    pub fn reply(&self) -> Option<&Reply> {
        match &self.fault {
            AttemptFault::StartTlsRefused(reply)
            | AttemptFault::Server(
                ClientFault::Closing(reply)
                | ClientFault::Rejected(reply)
                | ClientFault::Unexpected(reply),
            ) => Some(reply),
            AttemptFault::Network(_)
            | AttemptFault::Timeout(_)
            | AttemptFault::Server(_)
            | AttemptFault::Unsupported(_)
            | AttemptFault::StartTlsNotOffered
            | AttemptFault::Tls(_)
            | AttemptFault::Message(_)
            | AttemptFault::Crowded
            | AttemptFault::Exhausted(_) => None,
        }
    }

    /// The status to report to the sender: RFC 3463.
    #[must_use]
    pub fn status(&self) -> EnhancedStatus {
        let class = match self.retry_class() {
            RetryClass::Bounce => 5,
            RetryClass::Defer | RetryClass::SecurityDefer | RetryClass::NextHost => 4,
        };
        match &self.fault {
            AttemptFault::Unsupported(lacking) => lacking.status(),
            AttemptFault::StartTlsNotOffered | AttemptFault::StartTlsRefused(_) => {
                EnhancedStatus::new(class, 7, 10)
            }
            AttemptFault::Tls(_) | AttemptFault::Server(ClientFault::InjectedBeforeTls) => {
                EnhancedStatus::new(class, 7, 5)
            }
            AttemptFault::Network(_) | AttemptFault::Timeout(_)
                if self.phase == ClientPhase::Connect =>
            {
                EnhancedStatus::new(class, 4, 1)
            }
            AttemptFault::Network(_) | AttemptFault::Timeout(_) => EnhancedStatus::new(class, 4, 2),
            AttemptFault::Server(ClientFault::Closing(reply) | ClientFault::Rejected(reply)) => {
                let said = reply.status();
                EnhancedStatus::new(class, said.subject, said.detail)
            }
            AttemptFault::Server(_) => EnhancedStatus::new(class, 5, 0),
            AttemptFault::Message(_) => EnhancedStatus::new(class, 3, 0),
            AttemptFault::Crowded | AttemptFault::Exhausted(_) => EnhancedStatus::new(class, 4, 5),
        }
    }

    /// Before the message anything may be wrong with the host alone; after that it is tried later, so
    /// that no message is delivered twice at once.
    fn class_by_phase(&self) -> RetryClass {
        match self.phase {
            ClientPhase::Connect
            | ClientPhase::Greeting
            | ClientPhase::Hello
            | ClientPhase::StartTls
            | ClientPhase::Handshake
            | ClientPhase::Ready
            | ClientPhase::Quit => RetryClass::NextHost,
            ClientPhase::Mail
            | ClientPhase::Recipient
            | ClientPhase::Data
            | ClientPhase::Body
            | ClientPhase::End => RetryClass::Defer,
        }
    }
}

impl From<ClientError> for AttemptError {
    fn from(error: ClientError) -> Self {
        Self {
            phase: error.phase,
            fault: AttemptFault::Server(error.why),
        }
    }
}

impl fmt::Display for AttemptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.phase, self.fault)
    }
}

impl std::error::Error for AttemptError {}

impl fmt::Display for AttemptFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(kind) => write!(f, "{kind}"),
            Self::Timeout(waited) => write!(f, "nothing came in {} s", waited.as_secs()),
            Self::Server(fault) => fault.fmt(f),
            Self::Unsupported(lacking) => lacking.fmt(f),
            Self::StartTlsNotOffered => f.write_str("TLS is demanded, and STARTTLS is not offered"),
            Self::StartTlsRefused(reply) => {
                write!(f, "TLS is demanded, and STARTTLS is refused: {reply}")
            }
            Self::Tls(failure) => failure.fmt(f),
            Self::Message(kind) => write!(f, "the message could not be read: {kind}"),
            Self::Crowded => f.write_str(
                "not asked: as many connections lead there as `delivery.max_connections_per_address` \
                 and `max_connections_per_network` allow, and none became free",
            ),
            Self::Exhausted(shortage) => write!(f, "not asked: {shortage}"),
        }
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Files => {
                "this relay has as many files open as it may: raise `LimitNOFILE=` in its unit"
            }
            Self::SystemFiles => {
                "this machine has as many files open as it may: raise `fs.file-max`"
            }
            Self::Memory => {
                "this machine has no memory left for connections: raise `net.ipv4.tcp_mem`, or give \
                 it more"
            }
            Self::Addresses => {
                "this machine has no address of that family, or no port left on it: see \
                 `delivery.addresses`, or widen `net.ipv4.ip_local_port_range`"
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_s_faults_depend_on_how_far_the_attempt_came() {
        use ClientPhase as Phase;
        let waited = || AttemptFault::Timeout(Duration::from_secs(1));
        let reset = || AttemptFault::Network(io::ErrorKind::ConnectionReset);
        check(Phase::Connect, reset(), "NextHost 4.4.1 -");
        check(Phase::Greeting, waited(), "NextHost 4.4.2 -");
        check(
            Phase::Handshake,
            waited(),
            "NextHost 4.4.2 validation-failure",
        );
        check(Phase::Body, reset(), "Defer 4.4.2 -");
        let exhausted = AttemptFault::Exhausted(Shortage::Files);
        check(Phase::Connect, exhausted, "NextHost 4.4.5 -");
        check(Phase::Connect, AttemptFault::Crowded, "NextHost 4.4.5 -");
        let unreadable = AttemptFault::Message(io::ErrorKind::NotFound);
        check(Phase::Body, unreadable, "Defer 4.3.0 -");
    }

    #[test]
    fn what_this_machine_lacks_is_not_taken_for_silence() {
        for (errno, expected) in [
            (Errno::MFILE, Some(Shortage::Files)),
            (Errno::NFILE, Some(Shortage::SystemFiles)),
            (Errno::NOBUFS, Some(Shortage::Memory)),
            (Errno::NOMEM, Some(Shortage::Memory)),
            (Errno::ADDRNOTAVAIL, Some(Shortage::Addresses)),
            (Errno::CONNREFUSED, None),
            (Errno::NETUNREACH, None),
            (Errno::HOSTUNREACH, None),
        ] {
            let failure = io::Error::from(errno);
            let error = AttemptError {
                phase: ClientPhase::Connect,
                fault: AttemptFault::of_dialling(&failure),
            };
            let kind = AttemptFault::Network(failure.kind());
            assert_eq!(
                error.fault,
                expected.map_or(kind, AttemptFault::Exhausted),
                "{failure}"
            );
            assert_eq!(error.is_silence(), expected.is_none(), "{failure}");
        }
    }

    #[test]
    fn failures_of_tls_are_reported_and_never_final() {
        use ClientPhase as Phase;
        let missing = "SecurityDefer 4.7.10 starttls-not-supported";
        check(Phase::Hello, AttemptFault::StartTlsNotOffered, missing);
        let refused = AttemptFault::StartTlsRefused(Reply::plain(454, "no"));
        check(Phase::StartTls, refused, missing);
        let invalid = "SecurityDefer 4.7.5 validation-failure";
        let injected = AttemptFault::Server(ClientFault::InjectedBeforeTls);
        check(Phase::StartTls, injected, invalid);
        check(
            Phase::Handshake,
            AttemptFault::Tls(TlsFailure::Signature),
            invalid,
        );
    }

    #[test]
    fn a_server_s_word_is_passed_on() {
        use ClientPhase as Phase;
        let closing = ClientFault::Closing(Reply::plain(421, "bye"));
        check(Phase::Mail, AttemptFault::Server(closing), "Defer 4.0.0 -");
        let rejected = ClientFault::Rejected(Reply::plain(554, "no"));
        check(
            Phase::Greeting,
            AttemptFault::Server(rejected),
            "NextHost 4.0.0 -",
        );
        let lacking = AttemptFault::Unsupported(Unsupported::RequireTls);
        check(Phase::Ready, lacking, "NextHost 5.7.30 -");
        let lacking = AttemptFault::Unsupported(Unsupported::Smtputf8);
        check(Phase::Ready, lacking, "Bounce 5.6.7 -");
    }

    #[track_caller]
    fn check(phase: ClientPhase, fault: AttemptFault, expected: &str) {
        let error = AttemptError { phase, fault };
        let found = format!(
            "{:?} {} {}",
            error.retry_class(),
            error.status(),
            error.result_type().unwrap_or("-"),
        );
        assert_eq!(found, expected, "{error}");
    }
}
