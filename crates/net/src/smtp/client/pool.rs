//! Connections that stand ready for the next message, and how many there may be.
//!
//! A connection is used again for exactly the host, the address and the requirement that it was made
//! for, and for nothing else: whoever asks for more, less or other is given a new one.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::future::Future;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::ptr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use byrnie_base::DomainName;
use byrnie_policy::Requirement;
use byrnie_smtp::ClientPhase;
use byrnie_smtp::Transaction;
use byrnie_smtp::TransactionOutcome;
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio::time::sleep;
use tokio::time::timeout_at;

use super::AttemptError;
use super::AttemptFault;
use super::ChannelFacts;
use super::ChannelSecurity;
use super::Connection;
use super::MessageSource;
use super::SmtpClient;
use crate::clock::Clock;
use crate::current::Current;

/// How many connections there may be, and for how long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PoolLimits {
    /// Connections to one address, those that stand ready included. Default: 50.
    pub per_address_max: usize,
    /// Connections to one network, a /24 of IPv4 or a /48 of IPv6. Default: 200.
    pub per_network_max: usize,
    /// Connections that stand ready, to all hosts. Default: 2,000: one for each of so many hosts costs
    /// a file and some kilobytes, a new one round trips and, under TLS, a handshake.
    pub ready_max: usize,
    /// How long a connection stands ready. Default: 5 seconds.
    pub ready_time_max: Duration,
    /// How long a connection is used; then it is proven anew what was proven at its beginning.
    /// Default: 5 minutes.
    pub age_max: Duration,
    /// Messages over one connection. Default: 100.
    pub messages_max: u32,
    /// How long to wait while a host or its network has as many connections as it may. Default: 1
    /// minute.
    pub wait_max: Duration,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self {
            per_address_max: 50,
            per_network_max: 200,
            ready_max: 2_000,
            ready_time_max: Duration::from_secs(5),
            age_max: Duration::from_secs(5 * 60),
            messages_max: 100,
            wait_max: Duration::from_secs(60),
        }
    }
}

/// Makes connections, keeps them ready, and bounds them.
#[derive(Debug)]
pub struct ConnectionPool<C> {
    /// Makes them.
    client: SmtpClient<C>,
    /// Keeps and counts them.
    places: Arc<Places>,
}

impl<C: Clock> ConnectionPool<C> {
    /// A pool without connections.
    #[must_use]
    pub fn new(client: SmtpClient<C>, limits: PoolLimits) -> Self {
        Self {
            client,
            places: Arc::new(Places::new(limits)),
        }
    }

    /// The limits, to be exchanged. More room is seen by who waits for some as soon as any becomes free.
    #[must_use]
    pub fn limits(&self) -> Arc<Current<PoolLimits>> {
        Arc::clone(&self.places.limits)
    }

    /// Gives a connection to one of a host's addresses that is ready under `requirement`: one that was
    /// kept, or a new one.
    ///
    /// Addresses are tried in their order, each a little after the one before or as soon as that has
    /// failed; the first to answer is taken (RFC 8305, Section 5). What must hold is the same on all of
    /// them.
    pub async fn reach(
        &self,
        host: Option<&DomainName>,
        addresses: &[SocketAddr],
        requirement: &Requirement,
    ) -> Reached {
        match self.places.take(host, addresses, requirement) {
            Some(lease) => Reached::at_once(lease),
            None => self.reach_slowly(host, addresses, requirement).await,
        }
    }

    /// Gives a new connection to an address, in the place of a kept one that turned out to be closed.
    pub async fn reach_anew(
        &self,
        closed: Lease,
        host: Option<&DomainName>,
        requirement: &Requirement,
    ) -> Reached {
        let address = closed.channel().address;
        let dialled = self.client.dial(address).await;
        let (local, connected) = match dialled {
            Ok(stream) => {
                let local = local_address(&stream);
                let connecting = self.client.connect_over(stream, host, address, requirement);
                (local, connecting.await)
            }
            Err(error) => (None, Err(error)),
        };
        Reached::by_connecting(address, local, connected, closed.place, Vec::new())
    }

    /// Lets go of what has stood ready for too long; to be called every second.
    pub fn tidy(&self) {
        for leaving in self.places.remove(|ready, limits| ready.is_stale(limits)) {
            tokio::spawn(leaving.leave());
        }
    }

    /// Keeps nothing from now on, and takes leave of every host to which a connection stands ready.
    pub async fn close(&self) {
        self.places.closed.store(true, Ordering::SeqCst);
        let leaving = self.places.remove(|_, _| true);
        join_all(leaving.into_iter().map(Lease::leave)).await;
    }

    /// Waits for a place or for a connection that is given back, and connects.
    async fn reach_slowly(
        &self,
        host: Option<&DomainName>,
        addresses: &[SocketAddr],
        requirement: &Requirement,
    ) -> Reached {
        let deadline = Instant::now() + self.places.limits.get().wait_max;
        let mut left = addresses.to_vec();
        let mut failed = Vec::new();
        loop {
            let changed = self.places.changed(&left);
            if let Some(lease) = self.places.take(host, &left, requirement) {
                return Reached {
                    failed,
                    lease: Some(lease),
                };
            }
            if let Some(won) = self.race(&left, &mut failed).await {
                let local = local_address(&won.stream);
                let connected = self
                    .client
                    .connect_over(won.stream, host, won.address, requirement)
                    .await;
                return Reached::by_connecting(won.address, local, connected, won.place, failed);
            }
            left.retain(|address| failed.iter().all(|failed| failed.address != *address));
            if left.is_empty() {
                return Reached {
                    failed,
                    lease: None,
                };
            }
            if timeout_at(deadline, changed).await.is_err() {
                failed.extend(left.into_iter().map(Unreached::crowded));
                return Reached {
                    failed,
                    lease: None,
                };
            }
        }
    }

    /// Connects to the first address that answers; notes those that failed, and passes over those that
    /// have no place left.
    async fn race(&self, addresses: &[SocketAddr], failed: &mut Vec<Unreached>) -> Option<Won> {
        let mut waiting = addresses.iter().copied();
        let mut running = FuturesUnordered::new();
        loop {
            let next = waiting.find_map(|address| {
                let place = self.places.place(address)?;
                Some((address, place))
            });
            let is_last = next.is_none();
            if let Some((address, place)) = next {
                running.push(async move { (address, place, self.client.dial(address).await) });
            }
            let ended = tokio::select! {
                ended = running.next() => ended,
                () = sleep(HEAD_START), if !is_last => continue,
            };
            match ended? {
                (address, place, Ok(stream)) => {
                    return Some(Won {
                        address,
                        place,
                        stream,
                    });
                }
                (address, _, Err(error)) => failed.push(Unreached {
                    address,
                    local: None,
                    error,
                }),
            }
        }
    }
}

/// What came of reaching for a host.
#[derive(Debug)]
pub struct Reached {
    /// Addresses at which no connection was made, and why; others may not have been tried.
    pub failed: Vec<Unreached>,
    /// The connection.
    pub lease: Option<Lease>,
}

impl Reached {
    /// There was a connection.
    fn at_once(lease: Lease) -> Self {
        Self {
            failed: Vec::new(),
            lease: Some(lease),
        }
    }

    /// A connection was made, or was not.
    fn by_connecting(
        address: SocketAddr,
        local: Option<IpAddr>,
        connected: Result<Connection, AttemptError>,
        place: Place,
        mut failed: Vec<Unreached>,
    ) -> Self {
        let lease = match connected {
            Ok(connection) => Some(Lease {
                connection,
                place,
                origin: Origin::New,
                local,
            }),
            Err(error) => {
                failed.push(Unreached {
                    address,
                    local,
                    error,
                });
                None
            }
        };
        Self { failed, lease }
    }
}

/// An address at which no connection was made.
#[derive(Clone, Debug, PartialEq)]
pub struct Unreached {
    /// The address.
    pub address: SocketAddr,
    /// From where it was connected to, if it was.
    pub local: Option<IpAddr>,
    /// Why.
    pub error: AttemptError,
}

impl Unreached {
    /// There are as many connections as there may be.
    fn crowded(address: SocketAddr) -> Self {
        let error = AttemptError {
            phase: ClientPhase::Connect,
            fault: AttemptFault::Crowded,
        };
        Self {
            address,
            local: None,
            error,
        }
    }
}

/// A connection for the messages of one delivery.
#[derive(Debug)]
pub struct Lease {
    connection: Connection,
    place: Place,
    origin: Origin,
    /// From where it was made, where it was made now.
    local: Option<IpAddr>,
}

/// Whether a connection has carried a message before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Origin {
    /// It was made now.
    New,
    /// It was kept.
    Kept,
}

impl Lease {
    /// What is known about the connection.
    #[must_use]
    pub fn channel(&self) -> &ChannelFacts {
        self.connection.channel()
    }

    /// From which address it was made, if that was now.
    #[must_use]
    pub fn local(&self) -> Option<IpAddr> {
        self.local
    }

    /// Where it is from.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Whether another transaction may begin on it.
    #[must_use]
    pub fn is_reusable(&self) -> bool {
        self.connection.is_reusable()
    }

    /// Sends a message: see [`Connection::send`].
    ///
    /// # Errors
    /// As there.
    pub async fn send(
        &mut self,
        transaction: Transaction,
        message: impl MessageSource,
    ) -> Result<TransactionOutcome, AttemptError> {
        self.connection.send(transaction, message).await
    }

    /// Whether this failure says only that the host had closed a kept connection before it was told
    /// anything: nothing of the message was sent, and the host may be well.
    #[must_use]
    pub fn was_closed_before(&self, failure: &AttemptError) -> bool {
        self.origin == Origin::Kept && failure.is_of_closed_connection()
    }

    /// Keeps the connection for the next message, or takes leave if it is not worth that.
    pub fn give_back(self) {
        if let Some(leaving) = self.place.places().keep(self) {
            // What was said counts at once; taking leave may take its time.
            tokio::spawn(leaving.leave());
        }
    }

    /// Takes leave and closes; the place is free after that.
    async fn leave(self) {
        self.connection.quit().await;
        drop(self.place);
    }
}

/// Where connections are counted and kept.
#[derive(Debug)]
struct Places {
    limits: Arc<Current<PoolLimits>>,
    /// Each holds some of the networks, so that one lock is not waited for by everybody, and few are
    /// woken for nothing.
    shards: Vec<Shard>,
    hasher: RandomState,
    /// How many connections stand ready.
    ready: AtomicUsize,
    /// Whether nothing is kept any more.
    closed: AtomicBool,
}

/// Some of the networks.
#[derive(Debug, Default)]
struct Shard {
    networks: Mutex<HashMap<Network, AtNetwork>>,
    /// Rung when a place or a connection has become free.
    changed: Notify,
}

impl Shard {
    /// The networks.
    fn lock(&self) -> MutexGuard<'_, HashMap<Network, AtNetwork>> {
        // What a panic left behind is whole, as nothing in here stops half-way.
        self.networks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connections to one network.
#[derive(Debug, Default)]
struct AtNetwork {
    /// How many there are.
    connections: usize,
    addresses: HashMap<IpAddr, AtAddress>,
}

/// The connections to one address.
#[derive(Debug, Default)]
struct AtAddress {
    /// How many there are.
    connections: usize,
    /// Those that stand ready, the one that was used last behind the others.
    ready: Vec<Ready>,
}

/// A connection that stands ready; it counts as before.
#[derive(Debug)]
struct Ready {
    connection: Connection,
    since: Instant,
}

impl Ready {
    /// Whether it is not to be used again.
    fn is_stale(&self, limits: &PoolLimits) -> bool {
        self.since.elapsed() >= limits.ready_time_max || self.connection.age() >= limits.age_max
    }
}

impl Places {
    /// No connections.
    fn new(limits: PoolLimits) -> Self {
        Self {
            limits: Arc::new(Current::new(limits)),
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            hasher: RandomState::new(),
            ready: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
        }
    }

    /// Takes a place at an address; `None` if there is none left.
    ///
    /// A connection that stands ready there for something else is then closed, which leaves a place soon.
    fn place(self: &Arc<Self>, address: SocketAddr) -> Option<Place> {
        let (network, ip) = (Network::of(address.ip()), address.ip().to_canonical());
        let limits = self.limits.get();
        let evicted = {
            let mut shard = self.shard(network).lock();
            let at_network = shard.entry(network).or_default();
            if let Some(full) = at_network.addresses.get_mut(&ip)
                && full.connections >= limits.per_address_max
            {
                oldest(&mut full.ready)
            } else if at_network.connections >= limits.per_network_max {
                let mut addresses = at_network.addresses.values_mut();
                addresses.find_map(|at_address| oldest(&mut at_address.ready))
            } else {
                at_network.addresses.entry(ip).or_default().connections += 1;
                at_network.connections += 1;
                return Some(Place::new(self, address));
            }
        };
        if let Some(Ready { connection, .. }) = evicted {
            tokio::spawn(self.taken_out(connection).leave());
        }
        None
    }

    /// Takes a connection that was made for exactly this, and that the host has not closed since.
    fn take(
        self: &Arc<Self>,
        host: Option<&DomainName>,
        addresses: &[SocketAddr],
        requirement: &Requirement,
    ) -> Option<Lease> {
        if self.ready.load(Ordering::SeqCst) == 0 {
            return None;
        }
        let limits = self.limits.get();
        for address in addresses {
            while let Some(ready) = self.find(host, *address, requirement) {
                let is_stale = ready.is_stale(&limits);
                let mut lease = self.taken_out(ready.connection);
                match is_stale {
                    false if lease.connection.is_quiet() => return Some(lease),
                    false => {}
                    true => drop(tokio::spawn(lease.leave())),
                }
            }
        }
        None
    }

    /// Takes out the connection that was used last of those that were made for exactly this.
    fn find(
        &self,
        host: Option<&DomainName>,
        address: SocketAddr,
        requirement: &Requirement,
    ) -> Option<Ready> {
        let network = Network::of(address.ip());
        let mut shard = self.shard(network).lock();
        let at_network = shard.get_mut(&network)?;
        let ip = address.ip().to_canonical();
        let ready = &mut at_network.addresses.get_mut(&ip)?.ready;
        let fits = |ready: &Ready| ready.connection.is_for(host, address, requirement);
        let found = ready.iter().rposition(fits)?;
        Some(ready.remove(found))
    }

    /// A connection that no longer stands ready.
    fn taken_out(self: &Arc<Self>, connection: Connection) -> Lease {
        self.ready.fetch_sub(1, Ordering::SeqCst);
        let place = Place::new(self, connection.channel().address);
        Lease {
            connection,
            place,
            origin: Origin::Kept,
            local: None,
        }
    }

    /// Keeps a connection; gives it back if it is not to be kept.
    fn keep(&self, lease: Lease) -> Option<Lease> {
        if !self.is_worth_keeping(&lease.connection) {
            return Some(lease);
        }
        if self.ready.fetch_add(1, Ordering::SeqCst) >= self.limits.get().ready_max {
            self.ready.fetch_sub(1, Ordering::SeqCst);
            return Some(lease);
        }
        let ip = lease.place.address.ip();
        let network = Network::of(ip);
        let shard = self.shard(network);
        {
            let mut shard = shard.lock();
            // Looked at under the lock, under which what stands ready is taken out at the end.
            if self.closed.load(Ordering::SeqCst) {
                drop(shard);
                self.ready.fetch_sub(1, Ordering::SeqCst);
                return Some(lease);
            }
            let at_network = shard.entry(network).or_default();
            let at_address = at_network.addresses.entry(ip.to_canonical()).or_default();
            lease.place.keep();
            at_address.ready.push(Ready {
                connection: lease.connection,
                since: Instant::now(),
            });
        }
        shard.changed.notify_waiters();
        None
    }

    /// Whether the next message may go over it.
    ///
    /// One in clear text that follows a failure of TLS is not kept: whoever disturbs one handshake is
    /// not to get the mail of minutes in clear text for it.
    fn is_worth_keeping(&self, connection: &Connection) -> bool {
        let as_intended = match &connection.channel().security {
            ChannelSecurity::Tls(_) | ChannelSecurity::Clear { after: None } => true,
            ChannelSecurity::Clear { after: Some(_) } => false,
        };
        let limits = self.limits.get();
        as_intended
            && connection.is_reusable()
            && connection.messages() < limits.messages_max
            && connection.age() < limits.age_max
    }

    /// Takes out everything that stands ready and is so.
    fn remove(self: &Arc<Self>, is_so: impl Fn(&Ready, &PoolLimits) -> bool) -> Vec<Lease> {
        let limits = self.limits.get();
        let mut removed = Vec::new();
        for shard in &self.shards {
            let mut shard = shard.lock();
            let networks = shard.values_mut();
            let addresses = networks.flat_map(|network| network.addresses.values_mut());
            for at_address in addresses {
                let taken = at_address
                    .ready
                    .extract_if(.., |ready| is_so(ready, &limits));
                removed.extend(taken.map(|ready| ready.connection));
            }
        }
        let removed = removed.into_iter();
        removed
            .map(|connection| self.taken_out(connection))
            .collect()
    }

    /// Gives a place back.
    fn free(&self, address: IpAddr) {
        let (network, ip) = (Network::of(address), address.to_canonical());
        let shard = self.shard(network);
        {
            let mut shard = shard.lock();
            let Some(at_network) = shard.get_mut(&network) else {
                return;
            };
            at_network.connections = at_network.connections.saturating_sub(1);
            if let Some(at_address) = at_network.addresses.get_mut(&ip) {
                at_address.connections = at_address.connections.saturating_sub(1);
                if at_address.connections == 0 {
                    at_network.addresses.remove(&ip);
                }
            }
            if at_network.connections == 0 {
                shard.remove(&network);
            }
        }
        shard.changed.notify_waiters();
    }

    /// Ends once a place or a connection has become free, from now on, that may be at these addresses.
    fn changed<'a>(&'a self, addresses: &[SocketAddr]) -> impl Future<Output = ()> + use<'a> {
        let mut shards: Vec<&Shard> = Vec::new();
        for address in addresses {
            let shard = self.shard(Network::of(address.ip()));
            if !shards.iter().any(|known| ptr::eq(*known, shard)) {
                shards.push(shard);
            }
        }
        let bells = shards.into_iter().map(|shard| {
            let mut rung = Box::pin(shard.changed.notified());
            rung.as_mut().enable();
            rung
        });
        let mut bells: FuturesUnordered<_> = bells.collect();
        async move {
            bells.next().await;
        }
    }

    /// The part that a network is kept in.
    #[expect(
        clippy::indexing_slicing,
        reason = "the remainder of a division by the number of shards is less than that"
    )]
    fn shard(&self, network: Network) -> &Shard {
        let hash = usize::try_from(self.hasher.hash_one(network) % SHARDS).unwrap_or_default();
        &self.shards[hash]
    }
}

/// A connection that may be, to one address. Free when it is dropped.
#[derive(Debug)]
struct Place {
    places: Arc<Places>,
    address: SocketAddr,
    held: Held,
}

/// Whether a place is to be given back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Held {
    /// It is.
    Yes,
    /// It is not: the connection in it is kept.
    No,
}

impl Place {
    /// A place that was counted before.
    fn new(places: &Arc<Places>, address: SocketAddr) -> Self {
        Self {
            places: Arc::clone(places),
            address,
            held: Held::Yes,
        }
    }

    /// Where it belongs.
    fn places(&self) -> Arc<Places> {
        Arc::clone(&self.places)
    }

    /// Lets it count on, without anybody who holds it.
    fn keep(mut self) {
        self.held = Held::No;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        match self.held {
            Held::Yes => self.places.free(self.address.ip()),
            Held::No => {}
        }
    }
}

/// A connection that came about first.
struct Won {
    address: SocketAddr,
    place: Place,
    stream: TcpStream,
}

/// From where a stream was opened.
fn local_address(stream: &TcpStream) -> Option<IpAddr> {
    stream.local_addr().ok().map(|local| local.ip())
}

/// Addresses that are likely to be one owner's: a /24 of IPv4, a /48 of IPv6.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Network {
    /// The first three octets.
    Ipv4([u8; 3]),
    /// The first three groups.
    Ipv6([u16; 3]),
}

impl Network {
    /// The network of an address; an IPv4-mapped IPv6 address counts as IPv4.
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let [a, b, c, _] = address.octets();
                Self::Ipv4([a, b, c])
            }
            IpAddr::V6(address) => {
                let [a, b, c, ..] = address.segments();
                Self::Ipv6([a, b, c])
            }
        }
    }
}

/// Takes out the connection that has not been used for longest.
fn oldest(ready: &mut Vec<Ready>) -> Option<Ready> {
    (!ready.is_empty()).then(|| ready.remove(0))
}

/// How many locks there are, and bells.
const SHARDS: u64 = 128;

/// How much earlier an address is tried than the next one: "Connection Attempt Delay" of RFC 8305,
/// Section 5.
const HEAD_START: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn who_waits_is_woken_by_what_happens_there_alone() {
        let places = Arc::new(Places::new(PoolLimits::default()));
        let shard_of = |address: SocketAddr| places.shard(Network::of(address.ip()));
        let here = SocketAddr::from(([192, 0, 2, 1], 25));
        let there = (0..=255)
            .map(|network| SocketAddr::from(([198, 51, network, 1], 25)))
            .find(|there| !ptr::eq(shard_of(*there), shard_of(here)))
            .unwrap();
        let (place_here, place_there) = (places.place(here), places.place(there));
        let mut changed = pin!(places.changed(&[here]));
        drop(place_there);
        assert_eq!(changed.as_mut().now_or_never(), None);
        drop(place_here);
        assert_eq!(changed.now_or_never(), Some(()));
    }
}
