//! What an alert's row keeps of the event that fired.

use std::collections::BTreeMap;

use crate::json::Labels;

/// Bytes of names and values together: a page of alerts fits into an answer.
const MAX_BYTES: usize = 64 << 10;

/// The attributes as jsonb takes them, which has no U+0000; beyond the bytes the smallest.
pub fn kept(attributes: &BTreeMap<String, String>) -> Labels {
    let size = |(name, value): &(&String, &String)| name.len() + value.len();
    let mut entries: Vec<(&String, &String)> = attributes.iter().collect();
    if entries.iter().map(size).sum::<usize>() > MAX_BYTES {
        entries.sort_by_key(size);
        let mut left = MAX_BYTES;
        let fits = |entry: &&(&String, &String)| {
            let rest = left.checked_sub(size(entry));
            left = rest.unwrap_or(left);
            rest.is_some()
        };
        let fitting = entries.iter().take_while(fits).count();
        entries.truncate(fitting);
    }
    entries.into_iter().map(|(name, value)| (shown(name), shown(value))).collect()
}

fn shown(text: &str) -> String {
    text.replace('\0', "\u{FFFD}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_jsonb_cannot_hold_is_replaced() {
        let kept = kept(&[("a\0".to_owned(), "b\0\n".to_owned())].into());
        assert_eq!(kept, [("a\u{FFFD}".to_owned(), "b\u{FFFD}\n".to_owned())].into());
    }

    #[test]
    fn beyond_the_bytes_the_smallest_stay() {
        let mut all: BTreeMap<String, String> =
            (0..128).map(|n| (format!("a{n:03}"), "x".repeat(4096))).collect();
        all.insert("region".to_owned(), "eu".to_owned());
        let kept = kept(&all);
        assert_eq!((kept.len(), kept["region"].as_str()), (16, "eu"));
    }
}
