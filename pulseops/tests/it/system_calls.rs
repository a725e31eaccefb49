//! Every place that sees the rows of all organizations, listed: a new one is looked at by a person.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

const OPENERS: [&str; 2] = ["system_tx!(", "begin_system("];

#[test]
fn call_sites_of_system_transactions() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    for entry in fs::read_dir(&root).expect("the workspace").flatten() {
        sources(&entry.path().join("src"), &mut files);
    }
    files.sort();
    let mut list = String::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a source file");
        let shown = file.strip_prefix(&root).expect("below the root").display().to_string();
        // The mechanism itself, and what describes it.
        if shown.starts_with("platform/src/db") {
            continue;
        }
        for reason in OPENERS.iter().flat_map(|opener| reasons(&text, opener)) {
            writeln!(list, "{shown}: {reason}").expect("a string grows");
        }
    }
    insta::assert_snapshot!("system_transactions", list);
}

fn sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The reason that each call gives: the first literal, or the expression, after the opener.
fn reasons(text: &str, opener: &str) -> Vec<String> {
    let code =
        text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    code.split(opener)
        .skip(1)
        .map(|after| {
            let arguments = &after[..after.find('|').unwrap_or(after.len()).min(200)];
            let literal = arguments.split('"').nth(1);
            let plain =
                || arguments.split(')').next().unwrap_or_default().split_whitespace().collect::<String>();
            literal.map_or_else(plain, str::to_owned)
        })
        .collect()
}
