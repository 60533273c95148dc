//! Sealing: how secrets are kept at rest.
//!
//! SigV4 needs secrets in the clear, so they cannot be hashed; they are encrypted under the store's key-encryption key, which
//! is not kept beside them. Every secret gets a key of its own: HKDF-SHA256 (RFC 5869) of the key-encryption key with a fresh
//! salt, with the context as `info`. It is used once, with AES-256-GCM. The context ("access-key/UMBR…", "shadow/…") says what
//! the secret is for; it is not stored, and a sealed secret opens in its own context only.
//!
//! ```text
//!  0         1                  33              45                        45 + n             61 + n
//!  ├ version ┼ salt (32 bytes) ─┼ nonce (12) ───┼ encrypted secret (n) ───┼ tag (16 bytes) ──┤
//!
//!  key             = HKDF-SHA256(key-encryption key, salt, info = context), 32 bytes
//!  associated data = version ‖ context
//! ```
//!
//! Plaintext buffers and the key-encryption key are wiped when dropped. The derived keys live inside `ring` while one call
//! lasts; `ring` does not promise to wipe them.

use std::{fmt, sync::Arc};

use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, Salt},
};
use umbra_core::{Error, ErrorKind, Random, Result, SealedSecret};
use zeroize::{Zeroize, Zeroizing};

use crate::Secret;

const VERSION: u8 = 1;
const SALT_LEN: usize = 32;
const SALT_START: usize = 1;
const NONCE_START: usize = SALT_START + SALT_LEN;
const SECRET_START: usize = NONCE_START + NONCE_LEN;

/// Seals and opens secrets with the store's key-encryption key.
pub struct Sealer {
    kek: Zeroizing<[u8; 32]>,
    random: Arc<dyn Random>,
}

impl Sealer {
    /// A sealer with the key-encryption key `kek`.
    pub fn new(mut kek: [u8; 32], random: Arc<dyn Random>) -> Self {
        let sealer = Self { kek: Zeroizing::new(kek), random };
        kek.zeroize();
        sealer
    }

    /// Seals `secret` for `context`.
    pub fn seal(&self, context: &str, secret: &str) -> SealedSecret {
        let salt = self.random.array::<SALT_LEN>();
        let nonce = self.random.array::<NONCE_LEN>();
        // Room for the tag, so that the plaintext is never left behind by a reallocation.
        let mut text = Vec::with_capacity(secret.len() + AES_256_GCM.tag_len());
        text.extend_from_slice(secret.as_bytes());
        self.key(&salt, context)
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), associated_data(context), &mut text)
            .expect("a secret is shorter than the cipher's limit of 64 GiB");
        SealedSecret([&[VERSION], &salt[..], &nonce[..], &text].concat())
    }

    /// Opens a secret that was sealed for `context`; [`ErrorKind::Corrupt`] when it was not, or not with this key.
    pub fn open(&self, context: &str, sealed: &SealedSecret) -> Result<Secret> {
        let bytes = sealed.0.as_slice();
        if bytes.len() < SECRET_START || bytes[0] != VERSION {
            return Err(unopened("its form is not known to this release"));
        }
        let nonce = Nonce::try_assume_unique_for_key(&bytes[NONCE_START..SECRET_START]).expect("the slice is as long as a nonce");
        let mut text = Zeroizing::new(bytes[SECRET_START..].to_vec());
        let secret = self
            .key(&bytes[SALT_START..NONCE_START], context)
            .open_in_place(nonce, associated_data(context), &mut text)
            .map_err(|_| unopened("it was changed, moved, or sealed with another key-encryption key"))?;
        std::str::from_utf8(secret).map(Secret::new).map_err(|_| unopened("it is not text"))
    }

    fn key(&self, salt: &[u8], context: &str) -> LessSafeKey {
        let secret = Salt::new(HKDF_SHA256, salt).extract(&self.kek[..]);
        let info = [context.as_bytes()];
        let key = secret.expand(&info, &AES_256_GCM).expect("HKDF-SHA256 gives up to 8,160 bytes");
        LessSafeKey::new(UnboundKey::from(key))
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer")
    }
}

fn associated_data(context: &str) -> Aad<Vec<u8>> {
    Aad::from([&[VERSION], context.as_bytes()].concat())
}

fn unopened(why: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, "a sealed secret cannot be opened").because(why)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use umbra_core::{ErrorKind, SealedSecret, SeededRandom};

    use super::Sealer;

    const CONTEXT: &str = "access-key/UMBRAAAAAAAAAAAAAAAA";

    fn sealer(kek: u8) -> Sealer {
        Sealer::new([kek; 32], Arc::new(SeededRandom::new(1)))
    }

    #[test]
    fn a_secret_comes_back() {
        for secret in ["", "s", "correct horse battery staple", &"ü".repeat(1000)] {
            let sealed = sealer(1).seal(CONTEXT, secret);
            assert_eq!(sealed.0.len(), secret.len() + 61);
            assert_eq!(sealer(1).open(CONTEXT, &sealed).unwrap().expose(), secret);
        }
    }

    #[test]
    fn what_was_sealed_once_opens_for_ever() {
        // Not compared with what is sealed today: that is different every time.
        let golden = crate::record::golden::check("sealed_secret/v1", None);
        assert_eq!(sealer(1).open(CONTEXT, &SealedSecret(golden)).unwrap().expose(), "secret");
    }

    #[test]
    fn every_sealing_is_different() {
        let sealer = sealer(1);
        assert_ne!(sealer.seal(CONTEXT, "secret").0, sealer.seal(CONTEXT, "secret").0);
    }

    #[test]
    fn a_change_of_any_bit_is_noticed() {
        let sealer = sealer(1);
        let sealed = sealer.seal(CONTEXT, "secret");
        for at in 0..sealed.0.len() * 8 {
            let mut changed = sealed.clone();
            changed.0[at / 8] ^= 1 << (at % 8);
            assert_eq!(sealer.open(CONTEXT, &changed).unwrap_err().kind(), ErrorKind::Corrupt, "bit {at}");
        }
    }

    #[test]
    fn a_change_of_length_is_noticed() {
        let sealer = sealer(1);
        let sealed = sealer.seal(CONTEXT, "secret");
        for end in 0..sealed.0.len() {
            let cut = SealedSecret(sealed.0[..end].to_vec());
            assert_eq!(sealer.open(CONTEXT, &cut).unwrap_err().kind(), ErrorKind::Corrupt, "cut off at {end}");
        }
        let longer = SealedSecret([&sealed.0[..], b"\0"].concat());
        assert_eq!(sealer.open(CONTEXT, &longer).unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn a_secret_opens_in_its_context_and_with_its_key_only() {
        let sealed = sealer(1).seal(CONTEXT, "secret");
        assert!(sealer(1).open("shadow/1", &sealed).is_err());
        assert!(sealer(1).open("", &sealed).is_err());
        assert!(sealer(2).open(CONTEXT, &sealed).is_err());
    }

    #[test]
    fn nothing_secret_is_shown() {
        let sealer = Sealer::new([0x41; 32], Arc::new(SeededRandom::new(1)));
        let sealed = sealer.seal(CONTEXT, "hunter2");
        let shown = format!("{sealer:?} {sealed:?} {:?}", sealer.open(CONTEXT, &sealed).unwrap());
        assert_eq!(shown, "Sealer SealedSecret Secret");
    }
}
