//! Arithmetic on domain names: labels, ancestors, wildcards.

use bytes::Bytes;
use domain::base::name::Label;
use domain::base::name::Name;
use domain::base::name::ToLabelIter;

/// The number of labels as RRSIG counts them: RFC 4034, Section 3.1.3.
///
/// Neither the root nor a leading `*` counts.
pub(crate) fn signed_labels(name: &Name<Bytes>) -> usize {
    label_count(name) - usize::from(is_wildcard(name))
}

/// The number of labels without the root.
pub(crate) fn label_count(name: &Name<Bytes>) -> usize {
    name.iter_labels().count().saturating_sub(1)
}

/// Whether the left-most label is `*`.
pub(crate) fn is_wildcard(name: &Name<Bytes>) -> bool {
    name.first().is_wildcard()
}

/// Whether `name` lies strictly below `ancestor`.
pub(crate) fn is_below(name: &Name<Bytes>, ancestor: &Name<Bytes>) -> bool {
    name.ends_with(ancestor) && name != ancestor
}

/// The right-most `labels` labels of `name`; `name` itself where it has no more.
pub(crate) fn ancestor(name: &Name<Bytes>, labels: usize) -> Name<Bytes> {
    let surplus = label_count(name).saturating_sub(labels);
    name.iter_suffixes()
        .nth(surplus)
        .unwrap_or_else(|| name.clone())
}

/// The name one label shorter; the root is its own parent.
pub(crate) fn parent(name: &Name<Bytes>) -> Name<Bytes> {
    name.parent().unwrap_or_else(|| name.clone())
}

/// The deepest name that is an ancestor of both or one of them.
pub(crate) fn common_ancestor(left: &Name<Bytes>, right: &Name<Bytes>) -> Name<Bytes> {
    let shared = left
        .iter_labels()
        .rev()
        .zip(right.iter_labels().rev())
        .take_while(|(left, right)| left == right)
        .count();
    ancestor(left, shared.saturating_sub(1))
}

/// `*.encloser`; `None` if that is longer than a name may be.
pub(crate) fn wildcard_below(encloser: &Name<Bytes>) -> Option<Name<Bytes>> {
    let mut octets = Vec::with_capacity(encloser.len() + 2);
    octets.extend_from_slice(b"\x01*");
    octets.extend_from_slice(encloser.as_slice());
    Name::from_octets(Bytes::from(octets)).ok()
}

/// `name` with its suffix `owner` replaced by `target`; `None` if the result is too long.
///
/// RFC 6672, Section 2.2.
pub(crate) fn substitute(
    name: &Name<Bytes>,
    owner: &Name<Bytes>,
    target: &Name<Bytes>,
) -> Option<Name<Bytes>> {
    let kept = label_count(name).checked_sub(label_count(owner))?;
    let mut octets = Vec::with_capacity(NAME_OCTETS_MAX);
    for label in name.iter_labels().take(kept) {
        push_label(&mut octets, label);
    }
    octets.extend_from_slice(target.as_slice());
    Name::from_octets(Bytes::from(octets)).ok()
}

/// Appends the name in canonical form: RFC 4034, Section 6.2.
///
/// Length octets are at most 63 and letters begin at 65, so the whole can be lower-cased at once.
pub(crate) fn push_canonical(octets: &mut Vec<u8>, name: &Name<Bytes>) {
    octets.extend(name.as_slice().iter().map(u8::to_ascii_lowercase));
}

/// Appends a label with its length.
fn push_label(octets: &mut Vec<u8>, label: &Label) {
    octets.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
    octets.extend_from_slice(label.as_slice());
}

/// RFC 1035, Section 2.3.4.
pub(crate) const NAME_OCTETS_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_counted_without_root_and_leading_asterisk() {
        for (text, count) in [
            (".", 0),
            ("example.", 1),
            ("*.example.", 1),
            ("a.*.example.", 3),
        ] {
            assert_eq!(signed_labels(&name(text)), count, "{text}");
        }
    }

    #[test]
    fn ancestors_keep_the_right_most_labels() {
        for (labels, expected) in [
            (0, "."),
            (1, "c."),
            (2, "b.c."),
            (3, "a.b.c."),
            (9, "a.b.c."),
        ] {
            assert_eq!(ancestor(&name("a.b.c."), labels), name(expected));
        }
    }

    #[test]
    fn the_common_ancestor_is_found_without_regard_to_case() {
        for (left, right, expected) in [
            ("a.b.c.", "x.B.c.", "b.c."),
            ("b.c.", "a.b.c.", "b.c."),
            ("a.", "b.", "."),
            (".", "b.", "."),
        ] {
            assert_eq!(common_ancestor(&name(left), &name(right)), name(expected));
        }
    }

    #[test]
    fn a_dname_replaces_the_suffix_unless_the_result_is_too_long() {
        let long = name(&format!("{}.", "a".repeat(60)).repeat(4));
        let swapped = substitute(&name("w.x.old.org."), &name("old.org."), &name("new."));
        assert_eq!(swapped, Some(name("w.x.new.")));
        assert_eq!(
            substitute(&name("abcdefghijkl.x."), &name("x."), &long),
            None
        );
    }

    fn name(text: &str) -> Name<Bytes> {
        Name::bytes_from_str(text).unwrap()
    }
}
