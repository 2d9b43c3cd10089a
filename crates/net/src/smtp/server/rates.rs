//! How often each client may do what it does: token buckets, in a bounded table.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use byrnie_base::DomainName;
use byrnie_smtp::Reply;
use byrnie_smtp::replies;
use tokio::time::Instant;

use crate::occupancy::client;

/// How often something may happen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rate {
    /// So many times, also at once.
    pub times: u32,
    /// In so much time.
    pub per: Duration,
}

/// How often one client address, or one IPv6 network of 64 bits, may do something; `None` is as often as
/// it likes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ClientRates {
    /// Connect. Default: as often as it likes.
    pub connections: Option<Rate>,
    /// Begin a message. Default: as often as it likes.
    pub messages: Option<Rate>,
    /// Have a command refused. Default: as often as it likes.
    pub errors: Option<Rate>,
}

/// What clients did of late.
#[derive(Debug, Default)]
pub(super) struct Rates {
    /// What is left to each; those to whom all is left are not in it for long.
    table: Mutex<Table>,
}

/// What is left to clients.
#[derive(Debug, Default)]
struct Table {
    /// For each client.
    clients: HashMap<IpAddr, Buckets>,
    /// When those to whom all was left were dropped.
    swept: Option<Instant>,
}

impl Rates {
    /// Whether a client may connect now. Whoever has made too many errors may not.
    pub(super) fn connect(&self, allowed: &ClientRates, address: IpAddr) -> Result<(), TooOften> {
        self.with(allowed, address, |buckets, now| {
            if let Some(rate) = allowed.errors
                && buckets.errors.left(rate, now) < 1.0
            {
                return Err(TooOften::Errors);
            }
            take(&mut buckets.connections, allowed.connections, now)
                .then_some(())
                .ok_or(TooOften::Connections)
        })
    }

    /// Whether a client may begin a message now.
    pub(super) fn begin_message(
        &self,
        allowed: &ClientRates,
        address: IpAddr,
    ) -> Result<(), TooOften> {
        if allowed.messages.is_none() {
            return Ok(());
        }
        self.with(allowed, address, |buckets, now| {
            take(&mut buckets.messages, allowed.messages, now)
                .then_some(())
                .ok_or(TooOften::Messages)
        })
    }

    /// Notes that commands of a client were refused; says whether that was once too often.
    pub(super) fn note_errors(
        &self,
        allowed: &ClientRates,
        address: IpAddr,
        errors: u64,
    ) -> Result<(), TooOften> {
        if allowed.errors.is_none() {
            return Ok(());
        }
        self.with(allowed, address, |buckets, now| {
            let within = (0..errors).all(|_| take(&mut buckets.errors, allowed.errors, now));
            within.then_some(()).ok_or(TooOften::Errors)
        })
    }

    /// Looks at what is left to a client.
    ///
    /// While the table is full of others, nothing is held against a client that is not in it: to
    /// refuse it would let some clients lock all others out.
    fn with(
        &self,
        allowed: &ClientRates,
        address: IpAddr,
        look: impl FnOnce(&mut Buckets, Instant) -> Result<(), TooOften>,
    ) -> Result<(), TooOften> {
        if *allowed == ClientRates::default() {
            return Ok(());
        }
        let now = Instant::now();
        let client = client(address);
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if !table.clients.contains_key(&client) {
            table.sweep(allowed, now);
            if table.clients.len() >= RATED_CLIENTS_MAX {
                return Ok(());
            }
        }
        let buckets = table.clients.entry(client).or_default();
        look(buckets, now)
    }
}

impl Table {
    /// Drops the clients to whom all is left, now and then.
    fn sweep(&mut self, allowed: &ClientRates, now: Instant) {
        let lately = self.swept.is_some_and(|swept| now < swept + SWEEP_PAUSE);
        if self.clients.len() < SWEEP_MIN || lately {
            return;
        }
        self.swept = Some(now);
        let full = |buckets: &Buckets| buckets.are_full(allowed, now);
        self.clients.retain(|_, buckets| !full(buckets));
    }
}

/// What a client did too often.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum TooOften {
    /// It connected.
    Connections,
    /// It began messages.
    Messages,
    /// Its commands were refused.
    Errors,
}

impl TooOften {
    /// What the client is told.
    pub(super) fn reply(self, host: &DomainName) -> Reply {
        match self {
            Self::Connections => replies::too_many_connections_of_late(host),
            Self::Messages => replies::too_many_messages_of_late(host),
            Self::Errors => replies::too_many_errors_of_late(host),
        }
    }
}

/// What is left to one client.
#[derive(Debug, Default)]
struct Buckets {
    /// Of its connections.
    connections: Bucket,
    /// Of its messages.
    messages: Bucket,
    /// Of its errors.
    errors: Bucket,
}

impl Buckets {
    /// Whether all is left.
    fn are_full(&self, allowed: &ClientRates, now: Instant) -> bool {
        let full = |bucket: &Bucket, rate: Option<Rate>| {
            rate.is_none_or(|rate| bucket.left(rate, now) >= f64::from(rate.times))
        };
        full(&self.connections, allowed.connections)
            && full(&self.messages, allowed.messages)
            && full(&self.errors, allowed.errors)
    }
}

/// How often something was done, of which time takes away.
#[derive(Debug, Default)]
struct Bucket {
    /// How often, and when that was true; `None` for never.
    used: Option<(f64, Instant)>,
}

impl Bucket {
    /// How often it may be done now.
    fn left(&self, rate: Rate, now: Instant) -> f64 {
        let times = f64::from(rate.times);
        let Some((used, at)) = self.used else {
            return times;
        };
        let passed = now.saturating_duration_since(at).as_secs_f64();
        let back = passed / rate.per.as_secs_f64().max(f64::EPSILON) * times;
        (times - (used - back).max(0.0)).max(0.0)
    }
}

/// Takes one from a bucket, if one is left.
fn take(bucket: &mut Bucket, rate: Option<Rate>, now: Instant) -> bool {
    let Some(rate) = rate else {
        return true;
    };
    let left = bucket.left(rate, now);
    if left < 1.0 {
        return false;
    }
    bucket.used = Some((f64::from(rate.times) - left + 1.0, now));
    true
}

/// How many clients are counted at once: some 100 octets each.
const RATED_CLIENTS_MAX: usize = 100_000;

/// Under how many entries it is not worth looking for those that can be dropped.
const SWEEP_MIN: usize = 1_024;

/// How long the table is not looked through again, which takes some milliseconds when it is full.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_rate_has_its_own_bucket_and_time_fills_it() {
        let rates = Rates::default();
        let allowed = ClientRates {
            connections: Some(rate(2)),
            messages: Some(rate(3)),
            errors: Some(rate(1)),
        };
        let (one, other) = (address(1), address(2));
        assert_eq!(rates.connect(&allowed, one), Ok(()));
        assert_eq!(rates.connect(&allowed, one), Ok(()));
        assert_eq!(rates.connect(&allowed, one), Err(TooOften::Connections));
        assert_eq!(rates.connect(&allowed, other), Ok(()));
        for _ in 0..3 {
            assert_eq!(rates.begin_message(&allowed, one), Ok(()));
        }
        assert_eq!(rates.begin_message(&allowed, one), Err(TooOften::Messages));
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(rates.connect(&allowed, one), Ok(()));
        assert_eq!(rates.connect(&allowed, one), Err(TooOften::Connections));
        assert_eq!(rates.begin_message(&allowed, one), Ok(()));
        assert_eq!(rates.begin_message(&allowed, one), Err(TooOften::Messages));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_made_too_many_errors_may_not_come_back_at_once() {
        let rates = Rates::default();
        let allowed = ClientRates {
            errors: Some(rate(2)),
            ..ClientRates::default()
        };
        assert_eq!(rates.note_errors(&allowed, address(1), 2), Ok(()));
        assert_eq!(rates.connect(&allowed, address(1)), Err(TooOften::Errors));
        assert_eq!(
            rates.note_errors(&allowed, address(1), 1),
            Err(TooOften::Errors)
        );
        assert_eq!(rates.connect(&allowed, address(2)), Ok(()));
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(rates.connect(&allowed, address(1)), Ok(()));
        assert_eq!(
            rates.note_errors(&allowed, address(1), 2),
            Err(TooOften::Errors)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_full_again_is_dropped_and_the_table_is_bounded() {
        let rates = Rates::default();
        let allowed = ClientRates {
            connections: Some(rate(1)),
            ..ClientRates::default()
        };
        let held = || rates.table.lock().unwrap().clients.len();
        for number in 0..SWEEP_MIN {
            rates.connect(&allowed, address(number)).unwrap();
        }
        assert_eq!(held(), SWEEP_MIN);
        tokio::time::advance(Duration::from_secs(61)).await;
        rates.connect(&allowed, address(SWEEP_MIN)).unwrap();
        assert_eq!(held(), 1);
        for number in 0..RATED_CLIENTS_MAX + 10 {
            _ = rates.connect(&allowed, address(number));
        }
        assert_eq!(held(), RATED_CLIENTS_MAX);
        // Nothing is held against a newcomer, and the others are still counted.
        let newcomer = address(RATED_CLIENTS_MAX + 10);
        assert_eq!(rates.connect(&allowed, newcomer), Ok(()));
        assert_eq!(rates.connect(&allowed, newcomer), Ok(()));
        assert_eq!(
            rates.connect(&allowed, address(0)),
            Err(TooOften::Connections)
        );
    }

    /// So many times a minute.
    fn rate(times: u32) -> Rate {
        Rate {
            times,
            per: Duration::from_secs(60),
        }
    }

    /// One of many addresses.
    fn address(number: usize) -> IpAddr {
        let number = u32::try_from(number).unwrap();
        IpAddr::from(std::net::Ipv4Addr::from(0x0a00_0000 + number))
    }
}
