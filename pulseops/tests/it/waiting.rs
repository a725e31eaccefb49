//! Tests wait for what they wait for, through `eventually`. Every other sleep is listed with its reason, and
//! a new one is looked at by a person.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// File, how often it sleeps, and why.
const SLEEPS: [(&str, usize, &str); 6] = [
    ("platform/src/bus/conformance.rs", 1, "between steps of consumers that the test itself drives"),
    ("platform/src/consumer/pace.rs", 2, "waiting and work whose times are measured"),
    ("platform/src/testing.rs", 1, "`eventually` itself"),
    ("platform/src/testing/receiver.rs", 1, "the answer of a slow receiver"),
    ("platform/src/testing/server.rs", 1, "until the test server answers, on a thread without a runtime"),
    ("platform/tests/it/door/fixture.rs", 1, "a slow call"),
];

/// Of whatever runtime; in two parts, so that it is not found here.
const CALL: &str = concat!("::sleep", "(");

#[test]
fn tests_do_not_sleep() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = BTreeMap::new();
    for member in fs::read_dir(&root).expect("the workspace").flatten().map(|entry| entry.path()) {
        for file in [member.join("src"), member.join("tests")].into_iter().flat_map(|folder| sources(&folder))
        {
            let shown = file.strip_prefix(&root).expect("below the root").display().to_string();
            let text = fs::read_to_string(&file).expect("a source file");
            // Called, not named in a comment.
            let code = tests_of(&shown, &text).lines().filter(|line| !line.trim_start().starts_with("//"));
            let calls: usize = code.map(|line| line.matches(CALL).count()).sum();
            if calls > 0 {
                found.insert(shown, calls);
            }
        }
    }
    let listed = SLEEPS.iter().map(|(file, calls, _)| ((*file).to_owned(), *calls)).collect();
    assert_eq!(found, listed, "wait through platform::testing::eventually, or list it with its reason");
}

/// The part of a file that only tests run.
fn tests_of<'a>(file: &str, text: &'a str) -> &'a str {
    let kit = file.starts_with("platform/src/testing") || file.starts_with("platform/src/bus/conformance");
    if kit || file.contains("/tests/") || file.ends_with("/tests.rs") {
        return text;
    }
    text.find("#[cfg(test)]").map_or("", |at| &text[at..])
}

#[test]
fn what_only_tests_run_is_known() {
    let text = "code #[cfg(test)] tests";
    for (file, tests) in [
        ("a/src/b.rs", "#[cfg(test)] tests"),
        ("a/src/b/tests.rs", text),
        ("a/tests/it/b.rs", text),
        ("platform/src/testing/b.rs", text),
    ] {
        assert_eq!(tests_of(file, text), tests, "{file}");
    }
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
