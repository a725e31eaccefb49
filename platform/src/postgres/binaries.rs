//! The installed server: where it is and which version.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result};

/// Where distributions put the server, beside the search path. `*` is the version.
const PLACES: [&str; 4] = [
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/pgsql*/bin",
];

/// A folder with `initdb` and `postgres`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries {
    /// The folder.
    pub dir: PathBuf,
    /// Major version of the server in it.
    pub major: u32,
}

impl Binaries {
    /// Finds the server: in `dir` if given, else the highest version installed, or version `major`
    /// when the data demands it.
    ///
    /// # Errors
    /// Unavailable, code `postgres_missing`, saying what to install.
    pub fn find(dir: Option<&Path>, major: Option<u32>) -> Result<Self> {
        let candidates = match dir {
            Some(dir) => vec![dir.to_owned()],
            None => candidates(),
        };
        let mut found: Vec<Self> = candidates.into_iter().filter_map(Self::look_at).collect();
        found.sort_by_key(|binaries| binaries.major);
        let fitting = |binaries: &Self| major.is_none_or(|major| binaries.major == major);
        found.into_iter().rfind(fitting).ok_or_else(|| missing(dir, major))
    }

    fn look_at(dir: PathBuf) -> Option<Self> {
        if !dir.join("initdb").is_file() {
            return None;
        }
        let output = Command::new(dir.join("postgres")).arg("--version").output().ok()?;
        let major = major_of(&String::from_utf8_lossy(&output.stdout))?;
        Some(Self { dir, major })
    }
}

/// Reads "postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)".
fn major_of(version: &str) -> Option<u32> {
    let number = version.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

fn candidates() -> Vec<PathBuf> {
    // Of equal versions the last one is taken: a known place before a link in the search path.
    let mut dirs = crate::config::search_path();
    for place in PLACES {
        let Some((before, after)) = place.split_once('*') else {
            continue;
        };
        let (parent, prefix) = before.rsplit_once('/').unwrap_or(("", before));
        for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(prefix) {
                dirs.push(entry.path().join(after.trim_start_matches('/')));
            }
        }
    }
    dirs
}

fn missing(dir: Option<&Path>, major: Option<u32>) -> Error {
    let version = major.map(|major| format!(" of version {major} (the data's version)")).unwrap_or_default();
    let place = dir.map(|dir| format!(" in {}", dir.display())).unwrap_or_default();
    let package = major.map_or_else(|| "postgresql".to_owned(), |major| format!("postgresql-{major}"));
    Error::unavailable(
        "postgres_missing",
        format!(
            "no PostgreSQL server{version} was found{place}: install it (Debian, Ubuntu: apt-get \
             install {package}) or set database.url to a running one"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_versions() {
        assert_eq!(major_of("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)"), Some(15));
        assert_eq!(major_of("postgres (PostgreSQL) 18beta2"), Some(18));
        assert_eq!(major_of("something else"), None);
    }

    #[test]
    fn says_what_to_install() {
        let error = Binaries::find(Some(Path::new("/nowhere")), Some(3)).expect_err("not there");
        assert_eq!(error.code, "postgres_missing");
        assert!(error.detail.contains("apt-get install postgresql-3"), "{}", error.detail);
    }
}
