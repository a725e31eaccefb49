//! Values that must not be shown, the deployment's one secret and what is derived from it.

mod sealer;

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::{constant_time, digest, hkdf};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use sealer::Sealer;

use crate::source::Source;

const REDACTED: &str = "[redacted]";

/// A value that is not shown: `Debug`, `Display` and `Serialize` write `[redacted]`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Wraps a value.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself; name the reason by the place where you call it.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl<T> fmt::Display for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl<T> Serialize for Secret<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Secret<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self)
    }
}

/// Why the deployment's secret cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// There is no file and none may be made.
    #[error("{0} does not exist; `pulseops up` makes it, `serve` needs the same file on every machine")]
    Missing(PathBuf),
    /// Others may read the file.
    #[error("{0} can be read by others; run: chmod 600 {0}")]
    Open(PathBuf),
    /// The content is not 64 hexadecimal digits.
    #[error("the deployment's secret must be 64 hexadecimal digits")]
    Malformed,
    /// The file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// The one secret that all processes of a deployment share: 32 bytes from which every other key is
/// derived.
#[derive(Clone)]
pub struct DeploymentSecret(Arc<[u8; 32]>);

impl DeploymentSecret {
    /// Takes the bytes as they are; tests use fixed ones.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Arc::new(bytes))
    }

    /// Reads 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`SecretError::Malformed`].
    pub fn from_hex(text: &str) -> Result<Self, SecretError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text.trim(), &mut bytes).map_err(|_| SecretError::Malformed)?;
        Ok(Self::new(bytes))
    }

    /// Reads the secret from the file `path`. With `create`, a missing file is made with a new
    /// secret, readable by its owner only; of two processes that make it at once one wins.
    ///
    /// # Errors
    /// Missing without `create`, readable by others, malformed, or the file system's own errors.
    pub fn load_or_create(path: &Path, source: &Source, create: bool) -> Result<Self, SecretError> {
        match Self::load(path) {
            Err(SecretError::Missing(_)) if create => {
                make_file(path, source).map_err(|e| io_error(path, e))?;
                Self::load(path)
            }
            loaded => loaded,
        }
    }

    fn load(path: &Path) -> Result<Self, SecretError> {
        let text = match fs::read_to_string(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(SecretError::Missing(path.to_owned()));
            }
            read => read.map_err(|e| io_error(path, e))?,
        };
        let mode = fs::metadata(path).map_err(|e| io_error(path, e))?.mode();
        if mode & 0o077 != 0 {
            return Err(SecretError::Open(path.to_owned()));
        }
        Self::from_hex(&text)
    }

    /// The key for the purpose `label` (HKDF-SHA256). Different labels give unrelated keys.
    pub fn derive(&self, label: &str) -> [u8; 32] {
        let mut key = [0; 32];
        hkdf::Salt::new(hkdf::HKDF_SHA256, b"pulseops")
            .extract(&*self.0)
            .expand(&[label.as_bytes()], hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(&mut key))
            .expect("32 bytes is a length that HKDF-SHA256 gives");
        key
    }
}

impl fmt::Debug for DeploymentSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

fn io_error(path: &Path, source: io::Error) -> SecretError {
    SecretError::Io { path: path.to_owned(), source }
}

/// Writes the file beside its place and links it there whole, so that nobody reads half of it and a
/// file that is already there stays.
fn make_file(path: &Path, source: &Source) -> io::Result<()> {
    let mut bytes = [0; 32];
    source.fill(&mut bytes);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let draft = path.with_extension(format!("{}.new", source.id().simple()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    writeln!(file, "{}", hex::encode(bytes))?;
    file.sync_all()?;
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    match linked {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    }
}

/// SHA-256 of `bytes`: what is kept of keys and refresh tokens, which are random enough to need no
/// slow hash.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

/// [`sha256`] in lower-case hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(sha256(bytes))
}

/// Compares without telling by its time where the difference is. Lengths are not secret.
pub fn same(one: &[u8], other: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(one, other).is_ok()
}

/// A new key to hand out: `prefix` and 32 random bytes in base64url, for example `pok_…`.
pub fn random_key(source: &Source, prefix: &str) -> Secret<String> {
    let mut bytes = [0; 32];
    source.fill(&mut bytes);
    Secret::new(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn secrets_do_not_show() {
        let secret = Secret::new("hunter2".to_owned());
        let shown = format!("{secret} {secret:?} {}", serde_json::to_string(&secret).expect("json"));
        assert!(!shown.contains("hunter2"));
        assert_eq!(secret.expose(), "hunter2");
        let read: Secret<String> = serde_json::from_str("\"x\"").expect("a string");
        assert_eq!(read.expose(), "x");
        assert!(!format!("{:?}", DeploymentSecret::new([7; 32])).contains('7'));
    }

    #[test]
    fn derived_keys_depend_on_secret_and_label() {
        let secret = DeploymentSecret::new([1; 32]);
        assert_eq!(secret.derive("a"), secret.derive("a"));
        assert_ne!(secret.derive("a"), secret.derive("b"));
        assert_ne!(secret.derive("a"), DeploymentSecret::new([2; 32]).derive("a"));
    }

    #[test]
    fn the_file_is_made_once_and_for_its_owner() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("data/secret");
        let source = Source::system();
        let missing = DeploymentSecret::load_or_create(&path, &source, false);
        assert!(matches!(missing, Err(SecretError::Missing(_))));
        let made = DeploymentSecret::load_or_create(&path, &source, true).expect("made");
        let again = DeploymentSecret::load_or_create(&path, &source, true).expect("read");
        assert_eq!(made.derive("x"), again.derive("x"));
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().expect("data")).expect("there").count(), 1);
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        fs::write(&path, "00".repeat(32)).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("set");
        let loaded = DeploymentSecret::load_or_create(&path, &Source::system(), true);
        assert!(matches!(loaded, Err(SecretError::Open(_))));
    }

    #[test]
    fn malformed_secrets_are_refused() {
        for bad in ["", "00", &"zz".repeat(32), &"00".repeat(33)] {
            assert!(matches!(DeploymentSecret::from_hex(bad), Err(SecretError::Malformed)));
        }
    }

    #[test]
    fn keys_have_their_prefix_and_hash() {
        let key = random_key(&Source::system(), "pok_");
        assert!(key.expose().starts_with("pok_") && key.expose().len() == 4 + 43);
        assert_eq!(sha256_hex(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert!(same(b"ab", b"ab") && !same(b"ab", b"ac") && !same(b"ab", b"abc"));
    }
}
