//! What a server session is told before it begins.

use byrnie_base::DomainName;

/// What a server session is told before it begins; shared by all sessions of a listener.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerSettings {
    /// The name of this server, in its greeting and in `Received`.
    pub host: DomainName,
    /// Whether there is a certificate for `STARTTLS`.
    pub start_tls: StartTls,
    /// The bounds of a session.
    pub limits: ServerLimits,
}

/// Whether a server has a certificate for `STARTTLS`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StartTls {
    /// It has, and offers it until it is used.
    Offered,
    /// It has none.
    NotOffered,
}

/// The bounds of a session, each of which has a reply of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ServerLimits {
    /// How many octets a command line may have, line end included; RFC 5321, Section 4.5.3.1.4 says
    /// 512, and the parameters of extensions add to it. Default: 2,048.
    pub command_line_octets: usize,
    /// How many commands a session may have. Default: 10,000.
    pub commands: u64,
    /// How many commands may be refused in a session before it ends. Default: 50.
    pub errors: u64,
    /// How many recipients a message may have; RFC 5321, Section 4.5.3.1.8 wants at least 100.
    /// Default: 1,000.
    pub recipients: usize,
    /// How many octets a message may have. Default: 50 MiB.
    pub message_octets: u64,
    /// How many octets a line of a message may have, line end included; RFC 5321, Section 4.5.3.1.6
    /// wants at least 1,000, and much real mail goes beyond it. Default: 16,384.
    pub text_line_octets: usize,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            command_line_octets: 2_048,
            commands: 10_000,
            errors: 50,
            recipients: 1_000,
            message_octets: 50 * 1_024 * 1_024,
            text_line_octets: 16_384,
        }
    }
}
