//! Configurations of handshakes, each for one host and one requirement, with the sessions that may be
//! resumed under them.
//!
//! A resumed session shows no certificate. So its ticket is kept with exactly the host and the
//! requirement under which the certificate was judged, and is offered under no other; and the
//! certificate that came with it is judged anew each time.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use byrnie_base::DomainName;
use byrnie_base::UnixTime;
use byrnie_policy::TlsRequirement;
use rustls::ClientConfig;
use rustls::Error;
use rustls::NamedGroup;
use rustls::client::ClientSessionMemoryCache;
use rustls::client::ClientSessionStore;
use rustls::client::Tls12ClientSessionValue;
use rustls::client::Tls13ClientSessionValue;
use rustls_pki_types::ServerName;

use super::verifier::HandshakeVerifier;

/// The configurations in use.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<HashMap<Option<DomainName>, Vec<Known>>>);

/// How handshakes with one host under one requirement are made.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    /// What judges the host.
    pub(super) verifier: Arc<HandshakeVerifier>,
    /// The configuration, which holds the sessions; the library resumes none under another verifier.
    pub(super) config: ClientConfig,
}

/// A configuration and its age.
#[derive(Debug)]
struct Known {
    setup: Setup,
    made: UnixTime,
}

impl Sessions {
    /// The configuration for a host and a requirement: the known one, or a new one.
    pub(super) fn setup(
        &self,
        mx_host: Option<&DomainName>,
        requirement: &TlsRequirement,
        now: UnixTime,
        make: impl FnOnce() -> Result<Setup, Error>,
    ) -> Result<Setup, Error> {
        let mut hosts = self.hosts();
        let key = mx_host.cloned();
        let fits = |known: &&Known| {
            known.setup.verifier.requirement == *requirement && known.is_usable(now)
        };
        if let Some(known) = hosts.get(&key).and_then(|known| known.iter().find(fits)) {
            return Ok(known.setup.clone());
        }
        let setup = make()?;
        let count: usize = hosts.values().map(Vec::len).sum();
        if count >= SETUPS_MAX {
            retain(&mut hosts, |known| known.is_usable(now));
        }
        let count: usize = hosts.values().map(Vec::len).sum();
        if count < SETUPS_MAX {
            let known = hosts.entry(key).or_default();
            known.retain(|known| known.setup.verifier.requirement != *requirement);
            known.push(Known {
                setup: setup.clone(),
                made: now,
            });
        }
        Ok(setup)
    }

    /// Forgets a configuration with all its sessions.
    pub(super) fn forget(&self, verifier: &Arc<HandshakeVerifier>) {
        let mut hosts = self.hosts();
        retain(&mut hosts, |known| {
            !Arc::ptr_eq(&known.setup.verifier, verifier)
        });
    }

    fn hosts(&self) -> MutexGuard<'_, HashMap<Option<DomainName>, Vec<Known>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Whether its sessions are young enough, by a clock that may have been set back.
    fn is_usable(&self, now: UnixTime) -> bool {
        now >= self.made && now.since(self.made) < SETUP_AGE_MAX
    }
}

/// The tickets of one host under one requirement, of TLS 1.3 alone.
///
/// The library resumes whatever session of TLS 1.2 its store gives it, also where its settings say
/// otherwise; so they are not stored.
#[derive(Debug)]
pub(super) struct Tickets(ClientSessionMemoryCache);

impl Tickets {
    /// No tickets.
    pub(super) fn new() -> Self {
        Self(ClientSessionMemoryCache::new(TICKETS_MAX))
    }
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, server_name: ServerName<'static>, group: NamedGroup) {
        self.0.set_kx_hint(server_name, group);
    }

    fn kx_hint(&self, server_name: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.kx_hint(server_name)
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(
        &self,
        server_name: ServerName<'static>,
        ticket: Tls13ClientSessionValue,
    ) {
        self.0.insert_tls13_ticket(server_name, ticket);
    }

    fn take_tls13_ticket(
        &self,
        server_name: &ServerName<'static>,
    ) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(server_name)
    }
}

/// Keeps those of which this is true.
fn retain(hosts: &mut HashMap<Option<DomainName>, Vec<Known>>, is_true: impl Fn(&Known) -> bool) {
    hosts.retain(|_, known| {
        known.retain(&is_true);
        !known.is_empty()
    });
}

/// How many configurations are known; hosts past it make full handshakes. Each holds at most
/// [`TICKETS_MAX`] tickets with a chain of certificates, some kilobytes.
const SETUPS_MAX: usize = 512;

/// How many tickets of one host under one requirement are kept; each is used once.
const TICKETS_MAX: usize = 8;

/// How long a configuration is used; then the host shows its certificate again.
const SETUP_AGE_MAX: Duration = Duration::from_secs(10 * 60);
