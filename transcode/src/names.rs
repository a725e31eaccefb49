//! Spellings: RPC names to operation ids, enum values to their REST words.

/// `CreateApiKey` to `create_api_key`; a run of capitals is one word (`GetJWKSet` to `get_jwk_set`).
pub(crate) fn snake_case(name: &str) -> String {
    let chars: Vec<char> = name.chars().collect();
    let mut out = String::with_capacity(name.len() + 4);
    for (i, &c) in chars.iter().enumerate() {
        let begins_word = c.is_ascii_uppercase()
            && i > 0
            && (!chars[i - 1].is_ascii_uppercase() || chars.get(i + 1).is_some_and(char::is_ascii_lowercase));
        if begins_word && !out.ends_with('_') {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// The prefix that every value of the enum carries: `IncidentStatus` to `INCIDENT_STATUS_`.
pub(crate) fn enum_prefix(enum_name: &str) -> String {
    snake_case(enum_name).to_ascii_uppercase() + "_"
}

/// The REST word of an enum value: its name in lower case without the prefix.
pub(crate) fn enum_word(enum_name: &str, value_name: &str) -> String {
    value_name.strip_prefix(enum_prefix(enum_name).as_str()).unwrap_or(value_name).to_ascii_lowercase()
}

/// Whether a field name is written as the contract wants it: `a-z`, digits and single underscores.
pub(crate) fn is_snake(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('_')
        && !name.contains("__")
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spells_words() {
        assert_eq!(snake_case("CreateApiKey"), "create_api_key");
        assert_eq!(snake_case("GetJWKSet"), "get_jwk_set");
        assert_eq!(snake_case("ListV2Things"), "list_v2_things");
        assert_eq!(enum_word("IncidentStatus", "INCIDENT_STATUS_OPEN"), "open");
        assert_eq!(enum_word("Status", "OTHER"), "other");
        assert!(is_snake("page_size") && is_snake("sha256"));
        assert!(!is_snake("pageSize") && !is_snake("a__b") && !is_snake("_a"));
    }
}
