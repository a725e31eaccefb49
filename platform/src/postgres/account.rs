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
