//! The zones, and what may be changed in them while they are served.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use domain::base::Name;
use domain::base::Rtype;

use super::Denial;
use super::DnsFault;
use super::RecordSet;
use super::ZoneKey;
use super::dns_name;
use super::record::label_count;
use super::record::parent;
use crate::LabError;

/// Every zone of the miniature internet; a cheap handle, all clones of which see the same.
#[derive(Clone, Debug)]
pub struct Zones {
    /// Never locked across a wait.
    state: Arc<Mutex<State>>,
}

/// Whether a zone is signed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Signing {
    /// It is, and its parent says so.
    Signed(Denial),
    /// It is not, and its parent proves that.
    Unsigned,
}

impl Zones {
    /// A signed root with nothing below it.
    ///
    /// # Errors
    /// No key could be made.
    pub fn new() -> Result<Self, LabError> {
        let root = Zone::new(dns_name(".")?, Signing::Signed(Denial::Nsec))?;
        let state = State {
            zones: BTreeMap::from([(root.apex.clone(), root)]),
            faults: HashMap::new(),
        };
        Ok(Self {
            state: Arc::new(Mutex::new(state)),
        })
    }

    /// Adds a zone, and the delegation to it in the deepest zone above.
    ///
    /// # Errors
    /// The name is none, or no key could be made.
    pub fn add_zone(&self, apex: &str, signing: Signing) -> Result<(), LabError> {
        let zone = Zone::new(dns_name(apex)?, signing)?;
        let mut state = self.lock();
        let above = parent(&zone.apex).ok_or_else(|| LabError::Name(String::from(apex)))?;
        let above = state.zone_of_mut(&above)?;
        above.set(
            &zone.apex,
            RecordSet::new(Rtype::NS, TTL, vec![name_server()?]),
        );
        if let Some((key, _)) = &zone.key {
            let ds = key.ds(&zone.apex);
            above.set(&zone.apex, RecordSet::new(Rtype::DS, TTL, vec![ds]));
        }
        state.zones.insert(zone.apex.clone(), zone);
        Ok(())
    }

    /// Puts a record set in the place of the one of the same type.
    ///
    /// # Errors
    /// The owner is no name.
    pub fn set(&self, owner: &str, set: RecordSet) -> Result<(), LabError> {
        let owner = dns_name(owner)?;
        self.lock().zone_of_mut(&owner)?.set(&owner, set);
        Ok(())
    }

    /// Sets the one address of a host.
    ///
    /// # Errors
    /// The owner is no name.
    pub fn set_address(&self, owner: &str, address: Ipv4Addr) -> Result<(), LabError> {
        self.set(owner, RecordSet::a(TTL, &[address]))
    }

    /// Takes a record set away.
    ///
    /// # Errors
    /// The owner is no name.
    pub fn remove(&self, owner: &str, rtype: Rtype) -> Result<(), LabError> {
        let owner = dns_name(owner)?;
        self.lock().zone_of_mut(&owner)?.remove(&owner, rtype);
        Ok(())
    }

    /// Puts a fault upon a name and one type, or every type.
    ///
    /// # Errors
    /// The owner is no name.
    pub fn set_fault(
        &self,
        owner: &str,
        rtype: Option<Rtype>,
        fault: DnsFault,
    ) -> Result<(), LabError> {
        let owner = dns_name(owner)?;
        self.lock().faults.insert((owner, rtype), fault);
        Ok(())
    }

    /// Ends every fault upon a name.
    ///
    /// # Errors
    /// The owner is no name.
    pub fn clear_faults(&self, owner: &str) -> Result<(), LabError> {
        let owner = dns_name(owner)?;
        self.lock().faults.retain(|(name, _), _| *name != owner);
        Ok(())
    }

    /// The root's trust anchor as a DS line.
    ///
    /// # Errors
    /// There is no signed root.
    pub fn trust_anchor(&self) -> Result<String, LabError> {
        let root = dns_name(".")?;
        let state = self.lock();
        let zone = state.zone_of(&root)?;
        let (key, _) = zone
            .key
            .as_ref()
            .ok_or(LabError::Crypto("find the root's key"))?;
        let ds = key.ds(&root);
        let mut line = format!(". {TTL} IN DS {} ", key.tag());
        for octet in ds.get(2..4).unwrap_or_default() {
            // Writing to a String does not fail.
            let _ = write!(line, "{octet} ");
        }
        for octet in ds.get(4..).unwrap_or_default() {
            let _ = write!(line, "{octet:02X}");
        }
        line.push('\n');
        Ok(line)
    }

    /// The zones, for one answer or one change.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What [`Zones`] guards.
#[derive(Debug)]
pub(super) struct State {
    /// By apex.
    zones: BTreeMap<Name<Vec<u8>>, Zone>,
    /// By name and type; no type stands for every type.
    pub(super) faults: HashMap<(Name<Vec<u8>>, Option<Rtype>), DnsFault>,
}

impl State {
    /// The fault upon a name and a type.
    pub(super) fn fault(&self, name: &Name<Vec<u8>>, rtype: Rtype) -> Option<&DnsFault> {
        self.faults
            .get(&(name.clone(), Some(rtype)))
            .or_else(|| self.faults.get(&(name.clone(), None)))
    }

    /// The deepest zone that `name` lies in.
    pub(super) fn zone_of(&self, name: &Name<Vec<u8>>) -> Result<&Zone, LabError> {
        self.apex_of(name)
            .and_then(|apex| self.zones.get(&apex))
            .ok_or_else(|| LabError::Unset(format!("a zone for {name}")))
    }

    /// As [`zone_of`](Self::zone_of), to change it.
    fn zone_of_mut(&mut self, name: &Name<Vec<u8>>) -> Result<&mut Zone, LabError> {
        self.apex_of(name)
            .and_then(|apex| self.zones.get_mut(&apex))
            .ok_or_else(|| LabError::Unset(format!("a zone for {name}")))
    }

    /// The apex of the deepest zone that `name` lies in.
    fn apex_of(&self, name: &Name<Vec<u8>>) -> Option<Name<Vec<u8>>> {
        let mut at = Some(name.clone());
        while let Some(apex) = at {
            if self.zones.contains_key(&apex) {
                return Some(apex);
            }
            at = parent(&apex);
        }
        None
    }
}

/// One zone.
#[derive(Debug)]
pub(super) struct Zone {
    /// Its name.
    pub(super) apex: Name<Vec<u8>>,
    /// Its key and its way of proving absence, if it is signed.
    pub(super) key: Option<(ZoneKey, Denial)>,
    /// Its records by owner and type, owners in canonical order. No entry is empty.
    records: BTreeMap<Name<Vec<u8>>, BTreeMap<Rtype, RecordSet>>,
}

impl Zone {
    /// A zone with the records that stand at every apex.
    fn new(apex: Name<Vec<u8>>, signing: Signing) -> Result<Self, LabError> {
        let key = match signing {
            Signing::Signed(denial) => Some((ZoneKey::generate()?, denial)),
            Signing::Unsigned => None,
        };
        let mut zone = Self {
            apex,
            key,
            records: BTreeMap::new(),
        };
        let server = name_server()?;
        let mut soa = server.clone();
        soa.extend_from_slice(dns_name(SOA_MAILBOX)?.as_slice());
        for number in SOA_NUMBERS {
            soa.extend_from_slice(&number.to_be_bytes());
        }
        let apex = zone.apex.clone();
        zone.set(&apex, RecordSet::new(Rtype::SOA, NEGATIVE_TTL, vec![soa]));
        zone.set(&apex, RecordSet::new(Rtype::NS, TTL, vec![server]));
        if let Some((key, denial)) = &zone.key {
            let dnskey = RecordSet::new(Rtype::DNSKEY, TTL, vec![key.dnskey().to_vec()]);
            let param = match denial {
                Denial::Nsec => None,
                Denial::Nsec3 { iterations, .. } => {
                    let [high, low] = iterations.to_be_bytes();
                    Some(vec![1, 0, high, low, 0])
                }
            };
            zone.set(&apex, dnskey);
            if let Some(param) = param {
                zone.set(&apex, RecordSet::new(Rtype::NSEC3PARAM, TTL, vec![param]));
            }
        }
        Ok(zone)
    }

    fn set(&mut self, owner: &Name<Vec<u8>>, set: RecordSet) {
        let types = self.records.entry(owner.clone()).or_default();
        types.insert(set.rtype, set);
    }

    fn remove(&mut self, owner: &Name<Vec<u8>>, rtype: Rtype) {
        if let Some(types) = self.records.get_mut(owner) {
            types.remove(&rtype);
            if types.is_empty() {
                self.records.remove(owner);
            }
        }
    }

    /// The records of one type at one name.
    pub(super) fn get(&self, owner: &Name<Vec<u8>>, rtype: Rtype) -> Option<&RecordSet> {
        self.records.get(owner)?.get(&rtype)
    }

    /// Every name with records, in canonical order.
    pub(super) fn names(&self) -> impl Iterator<Item = &Name<Vec<u8>>> {
        self.records.keys()
    }

    /// Whether there are records at the name itself.
    pub(super) fn has_records(&self, name: &Name<Vec<u8>>) -> bool {
        self.records.contains_key(name)
    }

    /// Whether the name exists, perhaps only because others do below it: RFC 4592, Section 2.2.
    pub(super) fn exists(&self, name: &Name<Vec<u8>>) -> bool {
        self.records.keys().any(|other| other.ends_with(name))
    }

    /// The deepest existing name that `name` lies below: RFC 4592, Section 3.3.1.
    pub(super) fn closest_encloser(&self, name: &Name<Vec<u8>>) -> Name<Vec<u8>> {
        let mut at = parent(name);
        while let Some(above) = at {
            if label_count(&above) <= label_count(&self.apex) || self.exists(&above) {
                return above;
            }
            at = parent(&above);
        }
        self.apex.clone()
    }

    /// The types at a name that a proof of absence lists, without those of the proof itself.
    pub(super) fn types_for_denial(&self, name: &Name<Vec<u8>>) -> Vec<Rtype> {
        self.records
            .get(name)
            .map(|types| types.keys().copied().collect())
            .unwrap_or_default()
    }

    /// Whether the name is a cut behind which nothing is signed.
    pub(super) fn is_unsigned_delegation(&self, name: &Name<Vec<u8>>) -> bool {
        *name != self.apex
            && self.get(name, Rtype::NS).is_some()
            && self.get(name, Rtype::DS).is_none()
    }
}

/// The data of every NS record; nobody ever asks that server.
fn name_server() -> Result<Vec<u8>, LabError> {
    Ok(dns_name(NAME_SERVER)?.as_slice().to_vec())
}

/// The TTL of what a scenario never changes, in seconds.
const TTL: u32 = 3600;

/// The TTL of absence in seconds, short as scenarios add records: RFC 2308, Section 5; RFC 9077,
/// Section 3.
pub(super) const NEGATIVE_TTL: u32 = 1;

/// A name below the root that no zone has.
const NAME_SERVER: &str = "ns.lab-servers.";

/// RFC 1035, Section 3.3.13: RNAME.
const SOA_MAILBOX: &str = "hostmaster.lab-servers.";

/// SERIAL, REFRESH, RETRY, EXPIRE, MINIMUM.
const SOA_NUMBERS: [u32; 5] = [1, 3600, 600, 86_400, NEGATIVE_TTL];
