//! The miniature internet as a whole ([`World`]), and the part of it that one scenario owns
//! ([`Site`]).

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use tempfile::TempDir;

use crate::LabError;
use crate::address::AddressPlan;
use crate::authority::Authority;
use crate::authority::Identity;
use crate::authority::Lifetime;
use crate::authority::self_signed;
use crate::dns::Denial;
use crate::dns::DnsServer;
use crate::dns::OptOut;
use crate::dns::RecordSet;
use crate::dns::Rtype;
use crate::dns::Signing;
use crate::dns::TlsaData;
use crate::dns::Zones;
use crate::inbox::Inbox;
use crate::inject::Injector;
use crate::mail_host::Conduct;
use crate::mail_host::MailHost;
use crate::middle::Middle;
use crate::middle::Tampering;
use crate::policy_host::HttpAnswer;
use crate::policy_host::PolicyHost;
use crate::subject::SubjectPlan;

/// The miniature internet: addresses, the DNS, the public authorities, and what arrived.
pub struct World {
    /// Gives out addresses. Never locked across a wait.
    addresses: Mutex<AddressPlan>,
    /// Where mail hosts listen.
    pub mx_port: u16,
    /// Where policy hosts listen.
    pub https_port: u16,
    /// Every zone.
    pub zones: Zones,
    /// The resolver.
    pub dns: DnsServer,
    /// The root of the public authorities.
    root: Authority,
    /// The public authority that issues.
    issuer: Authority,
    /// What arrived anywhere.
    pub inbox: Inbox,
    /// Files for the program under test; removed with the world.
    folder: TempDir,
}

impl World {
    /// A world with a signed root and the zones of [`TOP_LEVEL`], and nobody in it.
    ///
    /// # Errors
    /// The machine refuses an address, a key or a file.
    pub async fn raise() -> Result<Arc<Self>, LabError> {
        let mut addresses = AddressPlan::draw()?;
        let zones = Zones::new()?;
        for (name, signing) in TOP_LEVEL {
            zones.add_zone(name, signing)?;
        }
        let resolver = SocketAddr::from((addresses.draw_address()?, addresses.dns_port));
        let dns = DnsServer::start(resolver, zones.clone()).await?;
        let root = Authority::root("Lab Public Root")?;
        let issuer = root.intermediate("Lab Public Issuer")?;
        let folder = tempfile::Builder::new()
            .prefix("byrnie-lab-")
            .tempdir()
            .map_err(LabError::io("make a temporary folder"))?;
        let world = Self {
            mx_port: addresses.mx_port,
            https_port: addresses.https_port,
            addresses: Mutex::new(addresses),
            zones,
            dns,
            root,
            issuer,
            inbox: Inbox::default(),
            folder,
        };
        let identity = world.issuer.issue(&[SUBJECT_NAME], Lifetime::Current)?;
        world.write("anchor", &world.zones.trust_anchor()?)?;
        world.write("ca.pem", &world.root.pem())?;
        world.write("cert.pem", &identity.chain_pem())?;
        world.write("key.pem", &identity.key_pem())?;
        Ok(Arc::new(world))
    }

    /// The folder with the files of the program under test.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A configuration that points the program under test at this world.
    ///
    /// # Errors
    /// The addresses are used up.
    pub fn subject_plan(&self) -> Result<SubjectPlan, LabError> {
        let address = self.next_address()?;
        Ok(SubjectPlan {
            hostname: String::from(SUBJECT_NAME),
            smtp: SocketAddr::from((address, self.mx_port)),
            metrics: SocketAddr::from((address, self.https_port)),
            // The resolver has this port at its own address.
            socketmap: SocketAddr::from((address, self.dns.address.port())),
            dns: self.dns.address,
            mx_port: self.mx_port,
            https_port: self.https_port,
            folder: self.folder.path().to_path_buf(),
            smart_host: None,
            log_level: "info,byrnie::decision=debug,byrnie::queue=debug",
            lifetime: "25s",
            max_receipts: 1_000_000,
            environment: Vec::new(),
        })
    }

    /// The same for another one, with a folder of its own, that sends all mail to a smart host.
    ///
    /// # Errors
    /// The addresses are used up, or the machine refuses a file.
    pub fn subject_plan_behind(&self, smart_host: &'static str) -> Result<SubjectPlan, LabError> {
        let folder = self.folder().join(smart_host);
        let failed = || LabError::io(format!("fill {}", folder.display()));
        std::fs::create_dir(&folder).map_err(failed())?;
        for file in ["anchor", "ca.pem", "cert.pem", "key.pem"] {
            std::fs::copy(self.folder().join(file), folder.join(file)).map_err(failed())?;
        }
        Ok(SubjectPlan {
            folder,
            smart_host: Some(smart_host),
            ..self.subject_plan()?
        })
    }

    /// A client of the program under test.
    ///
    /// # Errors
    /// TLS could not be configured.
    pub fn injector(&self, plan: &SubjectPlan) -> Result<Injector, LabError> {
        Injector::new(plan.smtp, &plan.hostname, &self.root.pem())
    }

    /// The options that point any resolving command of the program at this world.
    #[must_use]
    pub fn resolve_options(&self) -> Vec<String> {
        let folder = self.folder.path().display();
        vec![
            String::from("--dns-server"),
            self.dns.address.to_string(),
            String::from("--trust-anchor"),
            format!("{folder}/anchor"),
            String::from("--ca-file"),
            format!("{folder}/ca.pem"),
            String::from("--https-port"),
            self.https_port.to_string(),
        ]
    }

    fn next_address(&self) -> Result<Ipv4Addr, LabError> {
        let addresses = self.addresses.lock();
        addresses
            .unwrap_or_else(PoisonError::into_inner)
            .draw_address()
    }

    fn write(&self, name: &str, text: &str) -> Result<(), LabError> {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).map_err(LabError::io(format!("write {}", path.display())))
    }
}

/// The domains and hosts of one scenario.
///
/// Setting up is only noting down; [`settle`](Self::settle) makes it so. Changes between two steps of
/// a scenario work the same way.
pub struct Site {
    /// The world it is part of.
    pub world: Arc<World>,
    /// Mail hosts by name.
    mail_hosts: BTreeMap<String, Placed<MailHost>>,
    /// Policy hosts by policy domain.
    policy_hosts: BTreeMap<String, Placed<PolicyHost>>,
    /// Men in the middle that are not there yet.
    middles_wanted: Vec<(SocketAddr, SocketAddr, Tampering)>,
    /// Those that are.
    middles: Vec<Middle>,
}

/// A host, and whether it should listen.
struct Placed<H> {
    /// The host.
    host: H,
    /// Whether it listens.
    is: Presence,
    /// Whether it should.
    wanted: Presence,
}

impl<H> Placed<H> {
    fn new(host: H) -> Self {
        Self {
            host,
            is: Presence::Down,
            wanted: Presence::Up,
        }
    }
}

/// Whether a host listens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Presence {
    /// It does.
    Up,
    /// Connections are refused.
    Down,
}

impl Site {
    /// An empty site.
    #[must_use]
    pub fn new(world: &Arc<World>) -> Self {
        Self {
            world: Arc::clone(world),
            mail_hosts: BTreeMap::new(),
            policy_hosts: BTreeMap::new(),
            middles_wanted: Vec::new(),
            middles: Vec::new(),
        }
    }

    /// Adds a signed domain that proves absence by NSEC.
    ///
    /// # Errors
    /// As [`Zones::add_zone`].
    pub fn signed(&self, domain: &str) -> Result<(), LabError> {
        let signing = Signing::Signed(Denial::Nsec);
        self.world.zones.add_zone(domain, signing)
    }

    /// Adds a signed domain that proves absence by NSEC3.
    ///
    /// # Errors
    /// As [`Zones::add_zone`].
    pub fn signed_nsec3(&self, domain: &str) -> Result<(), LabError> {
        self.world.zones.add_zone(domain, NSEC3)
    }

    /// Adds an unsigned domain.
    ///
    /// # Errors
    /// As [`Zones::add_zone`].
    pub fn unsigned(&self, domain: &str) -> Result<(), LabError> {
        self.world.zones.add_zone(domain, Signing::Unsigned)
    }

    /// Adds a mail host with an address in the DNS.
    ///
    /// # Errors
    /// No zone has the name, or the addresses are used up.
    pub fn mail_host(&mut self, name: &str, conduct: Conduct) -> Result<(), LabError> {
        let address = self.hidden_mail_host(name, conduct)?;
        self.world.zones.set_address(name, address)
    }

    /// Adds a mail host that the DNS does not lead to.
    ///
    /// # Errors
    /// The addresses are used up.
    pub fn hidden_mail_host(&mut self, name: &str, conduct: Conduct) -> Result<Ipv4Addr, LabError> {
        let address = self.world.next_address()?;
        let socket = SocketAddr::from((address, self.world.mx_port));
        let host = MailHost::new(name, socket, conduct, self.world.inbox.clone());
        self.mail_hosts
            .insert(String::from(name), Placed::new(host));
        Ok(address)
    }

    /// Adds a mail host with an attacker between it and everybody else.
    ///
    /// # Errors
    /// No zone has the name, or the addresses are used up.
    pub fn mail_host_behind(
        &mut self,
        name: &str,
        conduct: Conduct,
        tampering: Tampering,
    ) -> Result<(), LabError> {
        let honest = self.hidden_mail_host(name, conduct)?;
        let attacker = self.world.next_address()?;
        let socket = |address| SocketAddr::from((address, self.world.mx_port));
        self.middles_wanted
            .push((socket(attacker), socket(honest), tampering));
        self.world.zones.set_address(name, attacker)
    }

    /// Publishes MX records.
    ///
    /// # Errors
    /// A name is none.
    pub fn mx(&self, domain: &str, hosts: &[(u16, &str)]) -> Result<(), LabError> {
        let set = RecordSet::mx(RECORD_TTL, hosts)?;
        self.world.zones.set(domain, set)
    }

    /// Publishes TLSA records for a host's SMTP port.
    ///
    /// # Errors
    /// The name is none.
    pub fn tlsa(&self, host: &str, records: &[TlsaData]) -> Result<(), LabError> {
        let set = RecordSet::tlsa(RECORD_TTL, records);
        self.world.zones.set(&tlsa_owner(host), set)
    }

    /// Withdraws the TLSA records of a host's SMTP port.
    ///
    /// # Errors
    /// The name is none.
    pub fn tlsa_withdraw(&self, host: &str) -> Result<(), LabError> {
        self.world.zones.remove(&tlsa_owner(host), Rtype::TLSA)
    }

    /// Publishes an MTA-STS policy: the TXT record, and a policy host with a public certificate.
    ///
    /// # Errors
    /// A name is none, or the addresses are used up.
    pub fn sts(&mut self, domain: &str, id: &str, answer: HttpAnswer) -> Result<(), LabError> {
        let identity = self.public(&[&format!("mta-sts.{domain}")])?;
        self.sts_with(domain, id, answer, &identity)
    }

    /// As [`sts`](Self::sts), with any certificate.
    ///
    /// # Errors
    /// A name is none, or the addresses are used up.
    pub fn sts_with(
        &mut self,
        domain: &str,
        id: &str,
        answer: HttpAnswer,
        identity: &Identity,
    ) -> Result<(), LabError> {
        let name = format!("mta-sts.{domain}");
        let address = self.world.next_address()?;
        let socket = SocketAddr::from((address, self.world.https_port));
        let host = PolicyHost::new(&name, socket, identity.acceptor()?, answer);
        self.policy_hosts
            .insert(String::from(domain), Placed::new(host));
        self.world.zones.set_address(&name, address)?;
        self.sts_id(domain, id)
    }

    /// Publishes another id for a policy.
    ///
    /// # Errors
    /// The name is none.
    pub fn sts_id(&self, domain: &str, id: &str) -> Result<(), LabError> {
        let set = RecordSet::txt(RECORD_TTL, &format!("v=STSv1; id={id};"));
        self.world.zones.set(&format!("_mta-sts.{domain}"), set)
    }

    /// Withdraws the TXT record of a policy.
    ///
    /// # Errors
    /// The name is none.
    pub fn sts_withdraw(&self, domain: &str) -> Result<(), LabError> {
        let owner = format!("_mta-sts.{domain}");
        self.world.zones.remove(&owner, Rtype::TXT)
    }

    /// A certificate from the public authorities.
    ///
    /// # Errors
    /// It could not be made.
    pub fn public(&self, names: &[&str]) -> Result<Identity, LabError> {
        self.world.issuer.issue(names, Lifetime::Current)
    }

    /// A certificate from the public authorities whose time is over.
    ///
    /// # Errors
    /// It could not be made.
    pub fn public_expired(&self, names: &[&str]) -> Result<Identity, LabError> {
        self.world.issuer.issue(names, Lifetime::Expired)
    }

    /// The honest case: a host with a self-signed certificate and a TLSA record 3 1 1 that matches it.
    ///
    /// # Errors
    /// No zone has the name, or the addresses are used up.
    pub fn dane_host(&mut self, name: &str) -> Result<(), LabError> {
        let identity = self_signed(&[name], Lifetime::Current)?;
        self.mail_host(name, Conduct::tls(identity.acceptor()?))?;
        self.tlsa(name, &[identity.tlsa(3, 1, 1)])
    }

    /// From the next [`settle`](Self::settle) on, a mail host listens or does not.
    ///
    /// # Errors
    /// There is no such host.
    pub fn want_mail_host(&mut self, name: &str, wanted: Presence) -> Result<(), LabError> {
        self.placed_mail_host(name)?.wanted = wanted;
        Ok(())
    }

    /// From the next [`settle`](Self::settle) on, a policy host listens or does not.
    ///
    /// # Errors
    /// There is no such host.
    pub fn want_policy_host(&mut self, domain: &str, wanted: Presence) -> Result<(), LabError> {
        self.placed_policy_host(domain)?.wanted = wanted;
        Ok(())
    }

    /// From now on, a mail host behaves so.
    ///
    /// # Errors
    /// There is no such host.
    pub fn set_conduct(&mut self, name: &str, conduct: Conduct) -> Result<(), LabError> {
        self.placed_mail_host(name)?.host.set_conduct(conduct);
        Ok(())
    }

    /// From now on, nothing is wrong with a mail host.
    ///
    /// # Errors
    /// There is no such host.
    pub fn mend_mail_host(&mut self, name: &str) -> Result<(), LabError> {
        self.placed_mail_host(name)?.host.mend();
        Ok(())
    }

    /// From now on, a policy host answers so.
    ///
    /// # Errors
    /// There is no such host.
    pub fn set_answer(&mut self, domain: &str, answer: HttpAnswer) -> Result<(), LabError> {
        self.placed_policy_host(domain)?.host.set_answer(answer);
        Ok(())
    }

    /// Makes every host listen or not as wanted.
    ///
    /// # Errors
    /// An address is taken.
    pub async fn settle(&mut self) -> Result<(), LabError> {
        for (address, honest, tampering) in self.middles_wanted.drain(..) {
            let middle = Middle::start(address, honest, tampering).await?;
            self.middles.push(middle);
        }
        for placed in self.mail_hosts.values_mut() {
            match (placed.is, placed.wanted) {
                (Presence::Down, Presence::Up) => placed.host.up().await?,
                (Presence::Up, Presence::Down) => placed.host.down().await,
                (Presence::Up, Presence::Up) | (Presence::Down, Presence::Down) => {}
            }
            placed.is = placed.wanted;
        }
        for placed in self.policy_hosts.values_mut() {
            match (placed.is, placed.wanted) {
                (Presence::Down, Presence::Up) => placed.host.up().await?,
                (Presence::Up, Presence::Down) => placed.host.down().await,
                (Presence::Up, Presence::Up) | (Presence::Down, Presence::Down) => {}
            }
            placed.is = placed.wanted;
        }
        Ok(())
    }

    /// The mail hosts.
    pub fn mail_hosts(&self) -> impl Iterator<Item = &MailHost> {
        self.mail_hosts.values().map(|placed| &placed.host)
    }

    /// The policy hosts.
    pub fn policy_hosts(&self) -> impl Iterator<Item = &PolicyHost> {
        self.policy_hosts.values().map(|placed| &placed.host)
    }

    fn placed_mail_host(&mut self, name: &str) -> Result<&mut Placed<MailHost>, LabError> {
        self.mail_hosts
            .get_mut(name)
            .ok_or_else(|| LabError::Unset(format!("the mail host {name}")))
    }

    fn placed_policy_host(&mut self, domain: &str) -> Result<&mut Placed<PolicyHost>, LabError> {
        self.policy_hosts
            .get_mut(domain)
            .ok_or_else(|| LabError::Unset(format!("the policy host of {domain}")))
    }
}

/// Where the TLSA records of a mail host stand. The port in the name is that of the service, 25,
/// wherever a test has it listen.
#[must_use]
pub fn tlsa_owner(host: &str) -> String {
    format!("_25._tcp.{host}")
}

/// The name of the program under test.
pub const SUBJECT_NAME: &str = "byrnie.home.test";

/// The TTL of what scenarios change, in seconds.
pub const RECORD_TTL: u32 = 1;

/// The zones below the root: one for each way of proving absence.
pub const TOP_LEVEL: [(&str, Signing); 3] = [
    ("test", Signing::Signed(Denial::Nsec)),
    ("example", NSEC3),
    (
        "optout",
        Signing::Signed(Denial::Nsec3 {
            iterations: 0,
            opt_out: OptOut::Yes,
        }),
    ),
];

/// NSEC3 as RFC 9276 would have it.
const NSEC3: Signing = Signing::Signed(Denial::Nsec3 {
    iterations: 0,
    opt_out: OptOut::No,
});
