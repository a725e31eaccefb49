//! Slugs of organizations, made from their names. Pure.

/// As the contract has it: `[a-z0-9-]{1,63}`.
const MAX: usize = 63;
/// For a name without a single usable letter.
const FALLBACK: &str = "organization";

/// Lower-case letters, digits, and one `-` for everything between.
pub fn of_name(name: &str) -> String {
    let mut slug = String::new();
    for letter in name.to_lowercase().chars() {
        if letter.is_ascii_alphanumeric() {
            slug.push(letter);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.truncate(MAX);
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() { FALLBACK.to_owned() } else { slug.to_owned() }
}

/// `base-suffix`, with the base cut so that both fit.
pub fn with_suffix(base: &str, suffix: &str) -> String {
    let room = MAX.saturating_sub(suffix.len() + 1).min(base.len());
    format!("{}-{suffix}", base[..room].trim_end_matches('-'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_slug(text: &str) -> bool {
        (1..=MAX).contains(&text.len()) && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
    }

    #[test]
    fn names_become_slugs() {
        let rows = [
            ("Acme Inc.", "acme-inc"),
            ("  --Ümlaut & Söhne-- ", "mlaut-s-hne"),
            ("日本", "organization"),
            ("A", "a"),
        ];
        for (name, slug) in rows {
            assert_eq!(of_name(name), slug, "{name}");
        }
        assert_eq!(with_suffix("acme", "2"), "acme-2");
        assert_eq!(with_suffix(&"a".repeat(63), "42").len(), 63);
    }

    proptest! {
        #[test]
        fn every_name_gives_a_slug(name in ".{1,300}", suffix in "[0-9a-f]{1,8}") {
            let slug = of_name(&name);
            prop_assert!(is_slug(&slug), "{slug}");
            prop_assert!(is_slug(&with_suffix(&slug, &suffix)));
        }
    }
}
