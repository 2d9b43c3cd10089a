//! One word for each thing, in logs and metrics alike.

use byrnie_policy::Strength;

/// The word for a strength.
pub(crate) fn strength(strength: Strength) -> &'static str {
    match strength {
        Strength::Opportunistic => "opportunistic",
        Strength::Encrypt => "encrypt",
        Strength::MtaSts => "mta-sts",
        Strength::Dane => "dane",
    }
}
