//! Who runs the server: this user, or another account when this user is root.

use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::unistd::{Uid, User};

use super::failed;
use crate::error::Result;

/// Accounts that may own the cluster when this process is root, best first.
const CHOICE: [&str; 3] = ["pulseops", "postgres", "nobody"];

/// An account other than ours; only root has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its login name.
    pub name: String,
    uid: u32,
    gid: u32,
}

impl Account {
    /// The account for the cluster in `dir`: nobody else when this process is not root; the owner
    /// of an existing cluster; `wanted`; or the first of `pulseops`, `postgres`, `nobody`.
    ///
    /// # Errors
    /// Unavailable, code `postgres_failed`, when no such account exists.
    pub fn choose(dir: &Path, wanted: Option<&str>) -> Result<Option<Self>> {
        if !Uid::effective().is_root() {
            return Ok(None);
        }
        let owner = std::fs::metadata(dir.join("PG_VERSION")).map(|meta| meta.uid()).ok();
        if let Some(owner) = owner.filter(|uid| *uid != 0) {
            let known = User::from_uid(Uid::from_raw(owner)).ok().flatten();
            return known.map(|user| Some(Self::from(user))).ok_or_else(|| {
                failed(format!("{} belongs to uid {owner}, which has no account", dir.display()))
            });
        }
        let names = wanted.map_or_else(|| CHOICE.to_vec(), |name| vec![name]);
        let found = names.iter().find_map(|name| User::from_name(name).ok().flatten());
        found.map(|user| Some(Self::from(user))).ok_or_else(|| {
            failed(format!("Postgres does not run as root, and no account {} exists", names.join(", ")))
        })
    }

    /// Its number.
    pub(super) fn uid(&self) -> u32 {
        self.uid
    }

    /// Makes `command` run as this account.
    pub(super) fn apply(&self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }

    /// Gives `path` to this account.
    pub(super) fn own(&self, path: &Path) -> std::io::Result<()> {
        chown(path, Some(self.uid), Some(self.gid))
    }

    /// Whether this account can pass through every parent of `path`.
    pub(super) fn reaches(&self, path: &Path) -> bool {
        path.ancestors().skip(1).all(|parent| match std::fs::metadata(parent) {
            Err(_) => true,
            Ok(meta) if meta.uid() == self.uid => meta.mode() & 0o100 != 0,
            Ok(meta) if meta.gid() == self.gid => meta.mode() & 0o010 != 0,
            Ok(meta) => meta.mode() & 0o001 != 0,
        })
    }
}

impl From<User> for Account {
    fn from(user: User) -> Self {
        Self { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw() }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Of an account other than root, as far as this machine has one.
    fn somebody() -> Account {
        let found = CHOICE.iter().find_map(|name| User::from_name(name).ok().flatten());
        Account::from(found.expect("every machine has the account nobody"))
    }

    #[test]
    fn a_normal_user_runs_it_and_root_lets_another_account() {
        let dir = tempfile::tempdir().expect("a folder");
        let chosen = Account::choose(dir.path(), None).expect("chosen");
        assert_eq!(chosen, Uid::effective().is_root().then(somebody));
        if chosen.is_none() {
            return;
        }
        let wanted = Account::choose(dir.path(), Some("nobody")).expect("there is one");
        assert_eq!(wanted.map(|account| account.name).as_deref(), Some("nobody"));
        let error = Account::choose(dir.path(), Some("no-such-account")).expect_err("there is none");
        assert!(error.detail.contains("no-such-account"), "{}", error.detail);
        // Whoever has the cluster keeps it.
        let version = dir.path().join("PG_VERSION");
        std::fs::write(&version, "17").expect("a file");
        let owner = Account::choose(dir.path(), Some("nobody")).expect("there is one").expect("root has one");
        owner.own(&version).expect("given");
        assert_eq!(Account::choose(dir.path(), None).expect("chosen"), Some(owner));
    }

    #[test]
    fn a_command_runs_as_the_account() {
        if !Uid::effective().is_root() {
            return;
        }
        let account = somebody();
        let mut command = Command::new("id");
        account.apply(command.arg("-u").current_dir("/"));
        let output = command.output().expect("run");
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), account.uid().to_string());
    }

    #[test]
    fn an_account_reaches_what_lies_behind_open_folders() {
        let dir = tempfile::tempdir_in("/tmp").expect("a folder");
        let inner = dir.path().join("data");
        let mode = |mode| std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(mode)).expect("set");
        let stranger = Account { name: "stranger".to_owned(), uid: 4_000_000, gid: 4_000_000 };
        mode(0o711);
        assert!(stranger.reaches(&inner));
        mode(0o700);
        assert!(!stranger.reaches(&inner));
        let metadata = std::fs::metadata(dir.path()).expect("a folder");
        let owner = Account { uid: metadata.uid(), gid: metadata.gid(), ..stranger };
        assert!(owner.reaches(&inner));
    }
}
