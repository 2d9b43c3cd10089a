//! MTA-STS policies as they are kept: RFC 8461, Section 3.3.

use std::future::Future;

use byrnie_base::DomainName;
use byrnie_base::UnixTime;

use crate::StoreError;

/// A policy as it was fetched. What it means is for others to say.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StsRecord {
    /// The policy domain.
    pub domain: DomainName,
    /// The `id` of the TXT record under which it was fetched.
    pub id: String,
    /// The policy file.
    pub body: String,
    /// When it was last fetched.
    pub fetched_at: UnixTime,
}

/// Keeps policies over a restart.
pub trait StsRecords: Send + Sync + 'static {
    /// The policy of a domain.
    fn sts_record(
        &self,
        domain: &DomainName,
    ) -> impl Future<Output = Result<Option<StsRecord>, StoreError>> + Send;

    /// Keeps a policy in the place of what was there.
    ///
    /// Past the configured number of policies, those that were fetched longest ago make room.
    fn put_sts_record(
        &self,
        record: StsRecord,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Forgets the policy of a domain.
    fn remove_sts_record(
        &self,
        domain: &DomainName,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The policies last fetched before `fetched_before`, oldest first, at most `limit`.
    fn stale_sts_records(
        &self,
        fetched_before: UnixTime,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<StsRecord>, StoreError>> + Send;
}

/// A policy of our own as it was published last.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PublishedSts {
    /// The policy domain.
    pub domain: DomainName,
    /// How often the operator had senders fetch the same text anew.
    pub edition: u64,
    /// The policy file.
    pub text: String,
}

/// Keeps what was published over a restart.
pub trait PublishedPolicies: Send + Sync + 'static {
    /// What was last published for a domain.
    fn published_sts(
        &self,
        domain: &DomainName,
    ) -> impl Future<Output = Result<Option<PublishedSts>, StoreError>> + Send;

    /// Keeps the text that is published now for a domain in the place of what was there; its edition stays.
    fn put_published_sts(
        &self,
        domain: &DomainName,
        text: String,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Counts another edition of what is published for a domain; says which it is now, `None` if nothing is
    /// published.
    fn renew_published_sts(
        &self,
        domain: &DomainName,
    ) -> impl Future<Output = Result<Option<u64>, StoreError>> + Send;
}
