use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use super::sha256;
use crate::error::{Error, Result};
use crate::source::Source;

const VERSION: u8 = 1;
const KEY_ID_LEN: usize = 4;
const HEADER_LEN: usize = 1 + KEY_ID_LEN + NONCE_LEN;

/// Seals secrets that have to be stored and read again (AES-256-GCM). A sealed value is
/// `version 1 | key id 4 | nonce 12 | ciphertext and tag`; the first key seals, every key opens.
#[derive(Clone)]
pub struct Sealer {
    keys: Arc<[Key]>,
    source: Source,
}

struct Key {
    id: [u8; KEY_ID_LEN],
    cipher: LessSafeKey,
}

impl Sealer {
    /// A sealer with one key; take it from [`DeploymentSecret::derive`](super::DeploymentSecret).
    pub fn new(key: [u8; 32], source: Source) -> Self {
        Self::with_previous(key, &[], source)
    }

    /// A sealer that seals with `key` and still opens what `previous` keys sealed.
    pub fn with_previous(key: [u8; 32], previous: &[[u8; 32]], source: Source) -> Self {
        let keys = std::iter::once(&key).chain(previous).map(Key::new).collect();
        Self { keys, source }
    }

    /// Seals `plaintext` for the place `aad` (table, column and row): the same bytes moved to
    /// another place do not open.
    ///
    /// # Errors
    /// Internal, when the plaintext is too long for AES-GCM (64 GiB).
    pub fn seal(&self, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>> {
        let key = &self.keys[0];
        let mut nonce = [0; NONCE_LEN];
        self.source.fill(&mut nonce);
        let mut sealed = Vec::with_capacity(HEADER_LEN + plaintext.len() + AES_256_GCM.tag_len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&key.id);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plaintext);
        // 96 random bits: safe for 2^32 values under one key (NIST SP 800-38D, 8.3).
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = key
            .cipher
            .seal_in_place_separate_tag(nonce, Aad::from(aad), &mut sealed[HEADER_LEN..])
            .map_err(|_| Error::internal("the value is too long to be sealed"))?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// Opens what [`Sealer::seal`] made for the same place.
    ///
    /// # Errors
    /// Internal: made by an unknown key (the deployment's secret was changed), for another place,
    /// or damaged.
    pub fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>> {
        let damaged = || Error::internal("a sealed value is damaged or was moved");
        let (header, body) = sealed.split_at_checked(HEADER_LEN).ok_or_else(damaged)?;
        if header[0] != VERSION {
            return Err(Error::internal("a sealed value has an unknown version"));
        }
        let (id, nonce) = header[1..].split_at(KEY_ID_LEN);
        let key = self.keys.iter().find(|key| key.id == id).ok_or_else(|| {
            Error::internal("a value was sealed by another key: was the deployment's secret changed?")
        })?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| damaged())?;
        let mut body = body.to_vec();
        let length = key.cipher.open_in_place(nonce, Aad::from(aad), &mut body).map_err(|_| damaged())?.len();
        body.truncate(length);
        Ok(body)
    }
}

impl Key {
    fn new(bytes: &[u8; 32]) -> Self {
        let hash = sha256(bytes);
        let mut id = [0; KEY_ID_LEN];
        id.copy_from_slice(&hash[..KEY_ID_LEN]);
        let key = UnboundKey::new(&AES_256_GCM, bytes).expect("an AES-256 key has 32 bytes");
        Self { id, cipher: LessSafeKey::new(key) }
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(byte: u8) -> Sealer {
        Sealer::new([byte; 32], Source::system())
    }

    #[test]
    fn what_is_sealed_opens_in_its_place_only() {
        let sealer = sealer(1);
        let sealed = sealer.seal(b"channels.secret/1", b"whsec").expect("sealed");
        assert!(!sealed.windows(5).any(|part| part == b"whsec"));
        assert_eq!(sealer.open(b"channels.secret/1", &sealed).expect("opened"), b"whsec");
        assert!(sealer.open(b"channels.secret/2", &sealed).is_err());
        assert_ne!(sealer.seal(b"a", b"b").expect("sealed"), sealer.seal(b"a", b"b").expect("sealed"));
    }

    #[test]
    fn damage_is_noticed_at_every_byte() {
        let sealer = sealer(1);
        let sealed = sealer.seal(b"", b"text").expect("sealed");
        for at in 0..sealed.len() {
            let mut broken = sealed.clone();
            broken[at] ^= 1;
            assert!(sealer.open(b"", &broken).is_err(), "byte {at}");
            assert!(sealer.open(b"", &sealed[..at]).is_err(), "length {at}");
        }
    }

    #[test]
    fn a_new_key_still_opens_what_the_old_one_sealed() {
        let old = sealer(1).seal(b"", b"text").expect("sealed");
        let rotated = Sealer::with_previous([2; 32], &[[1; 32]], Source::system());
        assert_eq!(rotated.open(b"", &old).expect("opened"), b"text");
        assert!(sealer(2).open(b"", &old).is_err());
        let new = rotated.seal(b"", b"text").expect("sealed");
        assert!(sealer(2).open(b"", &new).is_ok());
    }
}
