//! Text that strangers may have had a hand in.

/// Whether a character does something to whoever shows or reads it, rather than showing itself.
///
/// These are the control characters, the separators of lines and paragraphs, and what only steers
/// layout and direction (the general categories Cc, Zl, Zp and nearly all of Cf): in a terminal or a log
/// they move the cursor, turn text round or hide it. What belongs to digits of some scripts (U+0600 and
/// the like) shows itself and stays.
#[must_use]
pub fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_is_told_from_what_shows_itself() {
        for c in "aZ0 ~äß日本ا١🙂\u{a0}\u{600}\u{fffd}".chars() {
            assert!(!is_unprintable(c), "{c:?}");
        }
        for c in "\0\x1b\n\u{9b}\u{ad}\u{200b}\u{200d}\u{2028}\u{2029}\u{202e}\u{2066}\u{2069}\u{feff}\u{e0041}"
            .chars()
        {
            assert!(is_unprintable(c), "{c:?}");
        }
    }
}
