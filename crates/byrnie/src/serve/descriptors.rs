//! How many files the process may have open: each connection is one.

use byrnie_net::smtp::client::PoolLimits;
use rustix::process::Resource;
use rustix::process::Rlimit;
use rustix::process::getrlimit;
use rustix::process::setrlimit;
use tracing::warn;

use super::policyd;
use super::web;
use crate::cli::Only;
use crate::config::File;
use crate::failure::Failure;

/// Raises the limit as far as the system lets it, and sees whether all connections fit into it.
///
/// # Errors
/// The clients alone do not fit: byrnie would take connections and then fail to store their mail.
pub(super) fn make_room(file: &File, only: Option<Only>) -> Result<(), Failure> {
    let hard = raise();
    let (clients, outbound) = match only {
        None => {
            let services = [
                file.smtp.max_connections,
                policyd::clients(file),
                web::clients(file),
            ];
            (sum(&services), outbound(file))
        }
        Some(Only::Policyd) => (sum(&[policyd::clients(file)]), 0),
        Some(Only::Web) => (sum(&[web::clients(file)]), 0),
    };
    match judge(hard, clients, outbound) {
        Room::Enough => Ok(()),
        Room::Scarce { needed } => {
            warn!(
                target: "byrnie::serve",
                limit = hard,
                needed,
                hint = HINT,
                "connections may fail when all that are allowed are there at once"
            );
            Ok(())
        }
        Room::TooLittle => Err(Failure::runtime(format!(
            "{clients} connections do not fit into the {hard} files that the process may open"
        ))
        .hint(HINT)),
    }
}

/// What helps.
const HINT: &str = "raise `LimitNOFILE=` in the systemd unit (`ulimit -Hn` in a shell), or lower \
                    `smtp.max_connections`, `policyd.max_connections`, \
                    `web.max_connections` or `delivery.max_slow_deliveries`";

/// Raises the limit to the highest that is allowed; says what it is.
fn raise() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let highest = limit.maximum.unwrap_or(u64::MAX);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => highest,
        Err(_) => limit.current.unwrap_or(highest),
    }
}

/// The clients that there may be, of all services.
fn sum(services: &[usize]) -> u64 {
    let clients = services
        .iter()
        .fold(0, |sum: usize, clients| sum.saturating_add(*clients));
    u64::try_from(clients).unwrap_or(u64::MAX)
}

/// The connections to other hosts that there may be: those of deliveries, slow ones as well, and those
/// that stand ready for the next.
fn outbound(file: &File) -> u64 {
    let ready = u64::try_from(PoolLimits::default().ready_max).unwrap_or(u64::MAX);
    ready
        .saturating_add(file.delivery.max_deliveries.into())
        .saturating_add(file.delivery.max_slow_deliveries.into())
}

/// Whether so many files are enough for so many connections in and out.
fn judge(limit: u64, clients: u64, outbound: u64) -> Room {
    let least = clients.saturating_add(OTHERS);
    let needed = least
        .saturating_add(outbound)
        .saturating_add(RESOLVER_SOCKETS);
    if limit >= needed {
        Room::Enough
    } else if limit >= least {
        Room::Scarce { needed }
    } else {
        Room::TooLittle
    }
}

/// Whether there are enough files.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Room {
    /// Everything fits.
    Enough,
    /// The clients fit, but not all at once with everything else.
    Scarce {
        /// How many there should be.
        needed: u64,
    },
    /// The clients do not fit.
    TooLittle,
}

/// Files besides connections: the spool, listeners, the monitor and its clients, the runtime.
const OTHERS: u64 = 100;

/// What slow resolvers may take.
const RESOLVER_SOCKETS: u64 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_must_fit_and_the_rest_should() {
        for (limit, expected) in [
            (5_099, Room::TooLittle),
            (5_100, Room::Scarce { needed: 6_400 }),
            (6_399, Room::Scarce { needed: 6_400 }),
            (6_400, Room::Enough),
            (u64::MAX, Room::Enough),
        ] {
            assert_eq!(judge(limit, 5_000, 300), expected, "{limit}");
        }
    }

    #[test]
    fn the_limit_is_raised_to_the_highest_that_is_allowed() {
        let highest = raise();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
        assert_eq!(limit.maximum.unwrap_or(u64::MAX), highest);
    }
}
