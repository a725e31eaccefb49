//! Comments of the .proto files: what people read in the documentation.

use std::collections::HashMap;

use prost_reflect::{DescriptorPool, FileDescriptor};

/// Every comment of a pool, found by file and path. Empty when the pool was compiled without
/// source info.
pub(crate) struct Comments(HashMap<(String, Vec<i32>), Comment>);

/// A comment split into its prose and the optional `Example:` that ends it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Comment {
    pub(crate) text: String,
    pub(crate) example: Option<String>,
}

impl Comments {
    pub(crate) fn new(pool: &DescriptorPool) -> Self {
        let mut comments = HashMap::new();
        for file in pool.files() {
            let info = file.file_descriptor_proto().source_code_info.as_ref();
            for location in info.into_iter().flat_map(|info| &info.location) {
                let raw = location.leading_comments.as_ref().or(location.trailing_comments.as_ref());
                if let Some(raw) = raw {
                    let key = (file.name().to_owned(), location.path.clone());
                    comments.insert(key, split(raw));
                }
            }
        }
        Self(comments)
    }

    pub(crate) fn get(&self, file: &FileDescriptor, path: &[i32]) -> Option<&Comment> {
        self.0.get(&(file.name().to_owned(), path.to_vec()))
    }

    /// The prose of a comment; `None` when there is none.
    pub(crate) fn text(&self, file: &FileDescriptor, path: &[i32]) -> Option<&str> {
        self.get(file, path).map(|comment| comment.text.as_str()).filter(|text| !text.is_empty())
    }
}

/// Lines wrapped in the source are joined: a blank line or a list item begins a new line.
fn split(raw: &str) -> Comment {
    let mut comment = Comment::default();
    let mut lines = raw.lines().map(str::trim);
    let mut prose: Vec<String> = Vec::new();
    let mut joins = false;
    while let Some(line) = lines.next() {
        if let Some(first) = line.strip_prefix("Example:") {
            let rest = lines.by_ref().take_while(|line| !line.is_empty());
            let parts: Vec<_> = std::iter::once(first.trim()).chain(rest).collect();
            comment.example = Some(parts.join(" "));
            joins = false;
        } else if line.is_empty() {
            joins = false;
            prose.push(String::new());
        } else if joins && !line.starts_with("- ") && !line.starts_with("* ") {
            if let Some(last) = prose.last_mut() {
                last.push(' ');
                last.push_str(line);
            }
        } else {
            prose.push(line.to_owned());
            joins = true;
        }
    }
    comment.text = prose.join("\n").trim().to_owned();
    comment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_wrapped_lines_and_keeps_the_example_apart() {
        let comment =
            split(" Opens a thing\n and tells people.\n\n - one\n - two\n Example: {\"a\":\n   1}\n");
        assert_eq!(comment.text, "Opens a thing and tells people.\n\n- one\n- two");
        assert_eq!(comment.example.as_deref(), Some("{\"a\": 1}"));
    }
}
