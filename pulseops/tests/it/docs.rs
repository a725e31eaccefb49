//! What the pages name is there: links, paths, settings, tests.

use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;
use toml::Value;

const DEFAULTS: &str = include_str!("../../src/config.default.toml");
/// Look like settings: a type of message, a failpoint.
const NO_SETTINGS: [&str; 2] = ["incident.page", "workflow.before_save.<kind>"];
/// Speaks of an incident's members, which look like settings of `[incident]`.
const OF_MEMBERS: &str = "docs/expressions.md";
/// Not part of the repository.
const ELSEWHERE: [&str; 3] = [".git", "target", "data"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Path below the root, and text, of each page.
fn pages() -> Vec<(String, String)> {
    let mut names = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(str::to_owned).to_vec();
    names.extend(files().into_iter().filter(|name| name.starts_with("docs/") && name.ends_with(".md")));
    let read = |name: &String| fs::read_to_string(root().join(name)).expect("a page");
    names.iter().map(|name| (name.clone(), read(name))).collect()
}

/// Every file and, with a `/` at its end, every folder of the repository, from the root.
fn files() -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![root()];
    while let Some(folder) = open.pop() {
        for path in fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path()) {
            let name = path.strip_prefix(root()).expect("below the root").display().to_string();
            if path.is_dir() && !ELSEWHERE.contains(&name.as_str()) {
                found.push(format!("{name}/"));
                open.push(path);
            } else {
                found.push(name);
            }
        }
    }
    found
}

/// What stands in backticks, on one line, without spaces.
fn quoted(markdown: &str) -> Vec<&str> {
    let word = Regex::new("`([^`\\s]+)`").expect("a pattern");
    word.captures_iter(markdown).map(|found| found.get(1).expect("a group").as_str()).collect()
}

#[test]
fn links_lead_somewhere() {
    let mut broken = Vec::new();
    for (page, markdown) in pages() {
        for link in markdown.split("](").skip(1).filter_map(|after| after.split([')', '#']).next()) {
            let there = root().join(&page).parent().expect("a folder").join(link).exists();
            if !link.contains("://") && !there {
                broken.push(format!("{page}: {link}"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:?}");
}

/// A path may begin anywhere, since a page that speaks of one crate begins at its folder; `<area>` is any.
#[test]
fn paths_are_there() {
    let files = files();
    let any = Regex::new("<[^>]*>|\\{[^}]*\\}|\\*|NNNN").expect("a pattern");
    let mut missing = Vec::new();
    for (page, markdown) in pages() {
        for path in quoted(&markdown) {
            let folder =
                path.ends_with('/') && path != "/" && !ELSEWHERE.contains(&path.trim_end_matches('/'));
            if path.starts_with('/') || !(folder || path.contains('/') && path.ends_with(".rs")) {
                continue;
            }
            let parts: Vec<String> = any.split(path).map(regex::escape).collect();
            let wanted = Regex::new(&format!("(^|/){}$", parts.join("[^/]+"))).expect("a pattern");
            if !files.iter().any(|file| wanted.is_match(file)) {
                missing.push(format!("{page}: {path}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn settings_are_those_that_there_are() {
    let defaults: Value = toml::from_str(DEFAULTS).expect("the defaults");
    let key = Regex::new(r"^[a-z_]+(\.([a-z0-9_]+|<[a-z]+>))+$").expect("a pattern");
    let mut unknown = Vec::new();
    for (page, markdown) in pages().into_iter().filter(|(page, _)| page != OF_MEMBERS) {
        for word in quoted(&markdown).into_iter().filter(|word| key.is_match(word) && !word.ends_with(".rs"))
        {
            let section = word.split('.').next().and_then(|name| defaults.get(name));
            if section.is_some() && !NO_SETTINGS.contains(&word) && !is_setting(&defaults, word) {
                unknown.push(format!("{page}: {word}"));
            }
        }
    }
    assert!(unknown.is_empty(), "{unknown:?}");
}

/// `<role>` is any key.
fn is_setting(table: &Value, key: &str) -> bool {
    let (first, rest) = key.split_once('.').map_or((key, None), |(first, rest)| (first, Some(rest)));
    let found = if first.starts_with('<') {
        // What has no default, such as a login for each role, has no key either.
        let Some(tables) = table.as_table() else { return false };
        tables.values().next()
    } else {
        table.get(first)
    };
    match (found, rest) {
        (Some(inner), Some(rest)) => is_setting(inner, rest),
        (found, rest) => rest.is_none() && (found.is_some() || first.starts_with('<')),
    }
}

/// `cargo test` of a name that nothing has is green.
#[test]
fn tests_that_pages_name_are_there() {
    let command = Regex::new(r"cargo test -p (\S+) --test (\S+) (\w+)::(\w+)").expect("a pattern");
    let mut seen = 0;
    for (page, markdown) in pages() {
        for found in command.captures_iter(&markdown) {
            let [name, test_binary, module, test] = found.extract().1;
            let file = root().join(name).join("tests").join(test_binary).join(format!("{module}.rs"));
            let text = fs::read_to_string(&file).unwrap_or_default();
            assert!(text.contains(&format!("fn {test}(")), "{page}: {}", &found[0]);
            seen += 1;
        }
    }
    assert!(seen > 0, "CONTRIBUTING shows how to run one test");
}
