//! Numbers as people read them at a glance.

/// A number in groups of three digits.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// How often something happens, per second.
pub(super) fn rate(per_second: f64) -> String {
    match per_second {
        0.0 => String::from("0"),
        few if few < 99.95 => format!("{few:.1}"),
        many => format!("{many:.0}"),
    }
}

/// How much of the whole a part is; `-` of nothing.
pub(super) fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return String::from("-");
    }
    let percent = u128::from(part) * 100 / u128::from(whole);
    format!("{percent} %")
}

/// A number of octets in the unit that leaves it a few digits.
pub(super) fn octets(number: u64) -> String {
    let (mut number, mut tenths, mut unit) = (number, 0, "B");
    for larger in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
        if number < 1_024 {
            break;
        }
        tenths = number % 1_024 * 10 / 1_024;
        number /= 1_024;
        unit = larger;
    }
    match tenths {
        0 => format!("{number} {unit}"),
        tenths => format!("{number}.{tenths} {unit}"),
    }
}

/// A length of time in its largest units.
pub(super) fn span(milliseconds: u64) -> String {
    let seconds = milliseconds / 1_000;
    match seconds {
        0 => format!("{milliseconds}ms"),
        1..=9 => format!("{seconds}.{}s", milliseconds % 1_000 / 100),
        10..=119 => format!("{seconds}s"),
        120..=7_199 => format!("{}m", seconds / 60),
        7_200..=172_799 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A line of bars, one for each column, the last value at its end; what does not fit is left out at the
/// beginning, and the highest bar is the largest value.
pub(super) fn sparkline(values: &[f64], width: usize) -> String {
    let shown = values.get(values.len().saturating_sub(width)..);
    let shown = shown.unwrap_or_default();
    let largest = shown.iter().copied().fold(0.0, f64::max);
    let bars = shown.iter().map(|value| bar(*value, largest));
    let padding = width.saturating_sub(shown.len());
    std::iter::repeat_n(' ', padding).chain(bars).collect()
}

/// The bar for a value.
fn bar(value: f64, largest: f64) -> char {
    // Anything is more than nothing, however little.
    let steps = [
        (0.875, '█'),
        (0.75, '▇'),
        (0.625, '▆'),
        (0.5, '▅'),
        (0.375, '▄'),
        (0.25, '▃'),
        (0.125, '▂'),
        (0.0, '▁'),
    ];
    let height = if largest > 0.0 { value / largest } else { 0.0 };
    let bar = steps.iter().find(|(above, _)| height > *above);
    bar.map_or(' ', |(_, bar)| *bar)
}

/// The first columns of a text; an ellipsis stands for what is cut off.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept = text.chars().take(width.saturating_sub(1));
    let ellipsis = (width > 0).then_some('…');
    kept.chain(ellipsis).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (number, expected) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), expected);
        }
        for (number, expected) in [
            (0.0, "0"),
            (0.04, "0.0"),
            (12.34, "12.3"),
            (1_234.5, "1234"),
        ] {
            assert_eq!(rate(number), expected);
        }
        for (part, whole, expected) in [(0, 0, "-"), (1, 3, "33 %"), (3, 3, "100 %")] {
            assert_eq!(share(part, whole), expected);
        }
        for (number, expected) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_536, "1.5 KiB"),
            (1 << 30, "1 GiB"),
        ] {
            assert_eq!(octets(number), expected);
        }
        for (number, expected) in [
            (9, "9ms"),
            (1_500, "1.5s"),
            (61_000, "61s"),
            (7_300_000, "2h"),
        ] {
            assert_eq!(span(number), expected);
        }
    }

    #[test]
    fn bars_end_with_the_last_value_and_reach_up_to_the_largest() {
        for (values, width, expected) in [
            (&[][..], 3, "   "),
            (&[0.0, 0.0], 3, "   "),
            (&[1.0, 8.0], 3, " ▁█"),
            (&[9.0, 0.0, 1.0, 2.0, 4.0], 3, "▂▄█"),
            (&[1.0, 1_000.0], 2, "▁█"),
        ] {
            assert_eq!(sparkline(values, width), expected, "{values:?}");
        }
    }

    #[test]
    fn what_is_too_long_is_cut_off_visibly() {
        for (width, expected) in [(0, ""), (1, "…"), (3, "äb…"), (4, "äbcd")] {
            assert_eq!(cut("äbcd", width), expected);
        }
    }
}
