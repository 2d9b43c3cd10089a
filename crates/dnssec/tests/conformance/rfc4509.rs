//! SHA-256 in DS records, and what becomes of SHA-1 beside it (Section 3); RFC 9905.

use byrnie_dnssec::Sha1Policy;
use domain::base::iana::DigestAlgorithm;
use domain::rdata::Ds;

use crate::world::Denial;
use crate::world::World;
use crate::world::Zone;
use crate::world::dnskey;
use crate::world::ds;

#[test]
fn a_sha1_digest_counts_only_where_no_better_one_is() {
    const SHA1: DigestAlgorithm = DigestAlgorithm::SHA1;
    const SHA256: DigestAlgorithm = DigestAlgorithm::SHA256;
    const SHA384: DigestAlgorithm = DigestAlgorithm::SHA384;
    check(&[(SHA256, true)], "secure");
    check(&[(SHA384, true)], "secure");
    check(&[(SHA1, true)], "secure");
    check(&[(SHA1, false), (SHA256, true)], "secure");
    check(&[(SHA1, true), (SHA256, false)], "bogus");
    check(&[(SHA1, true), (SHA384, false)], "bogus");
    check(&[(SHA256, false), (SHA384, true)], "secure");
}

#[test]
fn where_sha1_is_ignored_a_zone_that_has_nothing_else_is_insecure() {
    let mut world = world(&[(DigestAlgorithm::SHA1, true)]);
    world.sha1 = Sha1Policy::Ignore;
    assert_eq!(world.ask("www.org. A").status.word(), "insecure");
}

#[track_caller]
fn check(digests: &[(DigestAlgorithm, bool)], word: &str) {
    let world = world(digests);
    assert_eq!(world.ask("www.org. A").status.word(), word, "{digests:?}");
}

/// A world where `org.` has DS records with these digests, right or wrong.
fn world(digests: &[(DigestAlgorithm, bool)]) -> World {
    let mut org = Zone::new("org.", Denial::Nsec, "www A 192.0.2.1");
    let key = dnskey(&org.keys[0]);
    org.ds = Some(
        digests
            .iter()
            .map(|(digest, right)| {
                let record = ds(&org.apex, &key, *digest);
                if *right {
                    return record;
                }
                let mut octets = record.digest().to_vec();
                octets[0] ^= 1;
                let (tag, algorithm) = (record.key_tag(), record.algorithm());
                Ds::new(tag, algorithm, record.digest_type(), octets.into()).unwrap()
            })
            .collect(),
    );
    World::new(vec![Zone::new(".", Denial::Nsec, ""), org])
}
