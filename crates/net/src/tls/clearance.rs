//! The witness without which no mail is sent.

use byrnie_policy::Strength;
use byrnie_policy::TlsRequirement;

/// Mail may travel on this connection, under this requirement and no other.
///
/// Made where the requirement was found to be met, and nowhere else.
#[derive(Debug)]
pub struct Clearance {
    /// Invariant: met by the connection that this clearance came with.
    requirement: TlsRequirement,
}

impl Clearance {
    /// The clearance for a connection without TLS, which only the weakest requirement allows.
    #[must_use]
    pub fn for_clear_text(requirement: &TlsRequirement) -> Option<Self> {
        match requirement {
            TlsRequirement::Opportunistic => Some(Self::for_met(requirement)),
            TlsRequirement::Encrypt
            | TlsRequirement::MtaSts { .. }
            | TlsRequirement::Dane { .. } => None,
        }
    }

    /// The clearance for a connection that was just found to meet `requirement`.
    pub(super) fn for_met(requirement: &TlsRequirement) -> Self {
        Self {
            requirement: requirement.clone(),
        }
    }

    /// How strong the requirement is that the connection meets.
    #[must_use]
    pub fn strength(&self) -> Strength {
        self.requirement.strength()
    }

    /// Whether the clearance was made for exactly this requirement.
    #[must_use]
    pub fn is_for(&self, requirement: &TlsRequirement) -> bool {
        self.requirement == *requirement
    }
}

#[cfg(test)]
mod tests {
    use byrnie_dane::ReferenceIdentifiers;

    use super::*;

    #[test]
    fn clear_text_is_cleared_for_the_weakest_requirement_alone() {
        check(
            &TlsRequirement::Opportunistic,
            Some(Strength::Opportunistic),
        );
        check(&TlsRequirement::Encrypt, None);
        let mx_host: byrnie_base::DomainName = "mx.example.org".parse().unwrap();
        check(
            &TlsRequirement::MtaSts {
                mx_host: mx_host.clone(),
            },
            None,
        );
        check(
            &TlsRequirement::Dane {
                records: Vec::new(),
                reference: ReferenceIdentifiers {
                    tlsa_base: mx_host,
                    next_hop: Vec::new(),
                },
            },
            None,
        );
    }

    #[track_caller]
    fn check(requirement: &TlsRequirement, expected: Option<Strength>) {
        let clearance = Clearance::for_clear_text(requirement);
        assert_eq!(clearance.as_ref().map(Clearance::strength), expected);
        assert!(clearance.is_none_or(|clearance| clearance.is_for(requirement)));
    }
}
