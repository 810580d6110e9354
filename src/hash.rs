//! SHA-256 and HMAC-SHA-256 by `ring`, or by `sha2` and `hmac` with the feature `rustcrypto`.

/// SHA-256 of `bytes`.
#[inline]
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    provider::sha256(bytes)
}

/// A message of 55 bytes, the longest that fits into one SHA-256 block, with its padding (FIPS
/// 180-4, section 5.1.1).
pub(crate) type OneBlock = [u8; 64];

/// The length of the message in a [`OneBlock`].
pub(crate) const ONE_BLOCK_LEN: usize = 55;

/// A block with padding, to write the message into.
pub(crate) const EMPTY_BLOCK: OneBlock = {
    let mut block = [0; 64];
    block[ONE_BLOCK_LEN] = 0x80;
    // 440 bits.
    block[62] = 1;
    block[63] = 184;
    block
};

/// The message in `block`.
#[inline]
pub(crate) fn message(block: &OneBlock) -> &[u8] {
    block.split_at(ONE_BLOCK_LEN).0
}

/// SHA-256 of the message in `block`.
#[inline]
pub(crate) fn sha256_block(block: &OneBlock) -> [u8; 32] {
    provider::sha256_block(block)
}

/// A prepared key for HMAC-SHA-256 (RFC 2104).
#[derive(Clone)]
pub(crate) struct MacKey(provider::MacKey);

impl MacKey {
    pub(crate) fn new(key: &[u8]) -> Self {
        Self(provider::mac_key(key))
    }

    #[inline]
    pub(crate) fn sign(&self, bytes: &[u8]) -> [u8; 32] {
        provider::sign(&self.0, bytes)
    }
}

#[cfg(not(feature = "rustcrypto"))]
use self::by_ring as provider;
#[cfg(feature = "rustcrypto")]
use self::by_rustcrypto as provider;

#[cfg(not(feature = "rustcrypto"))]
mod by_ring {
    use ring::{digest, hmac};

    use super::{OneBlock, message};

    pub(super) type MacKey = hmac::Key;

    #[inline]
    pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
        array(digest::digest(&digest::SHA256, bytes).as_ref())
    }

    #[inline]
    pub(super) fn sha256_block(block: &OneBlock) -> [u8; 32] {
        sha256(message(block))
    }

    pub(super) fn mac_key(key: &[u8]) -> MacKey {
        hmac::Key::new(hmac::HMAC_SHA256, key)
    }

    #[inline]
    pub(super) fn sign(key: &MacKey, bytes: &[u8]) -> [u8; 32] {
        array(hmac::sign(key, bytes).as_ref())
    }

    #[inline]
    fn array(digest: &[u8]) -> [u8; 32] {
        let mut array = [0; 32];
        array.copy_from_slice(digest);
        array
    }
}

#[cfg(feature = "rustcrypto")]
mod by_rustcrypto {
    use hmac::{Hmac, KeyInit, Mac};
    use sha2::{Digest, Sha256, block_api::compress256};

    use super::OneBlock;

    pub(super) type MacKey = Hmac<Sha256>;

    #[inline]
    pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
        Sha256::digest(bytes).into()
    }

    /// Compresses the padded block directly: `sha2`'s buffering costs as much as the compression.
    #[inline]
    pub(super) fn sha256_block(block: &OneBlock) -> [u8; 32] {
        let mut state = INITIAL;
        compress256(&mut state, core::slice::from_ref(block));
        let mut digest = [0; 32];
        for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        digest
    }

    /// The initial hash value (FIPS 180-4, section 5.3.3).
    const INITIAL: [u32; 8] = [
        0x6a09_e667,
        0xbb67_ae85,
        0x3c6e_f372,
        0xa54f_f53a,
        0x510e_527f,
        0x9b05_688c,
        0x1f83_d9ab,
        0x5be0_cd19,
    ];

    pub(super) fn mac_key(key: &[u8]) -> MacKey {
        // HMAC accepts keys of any length (RFC 2104, section 2).
        MacKey::new_from_slice(key).unwrap_or_else(|_| unreachable!("HMAC accepts any key"))
    }

    #[inline]
    pub(super) fn sign(key: &MacKey, bytes: &[u8]) -> [u8; 32] {
        key.clone()
            .chain_update(bytes)
            .finalize()
            .into_bytes()
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_match_published_test_vectors() {
        // FIPS 180-4's example, and RFC 4231, section 4.3.
        let abc = *b"\xba\x78\x16\xbf\x8f\x01\xcf\xea\x41\x41\x40\xde\x5d\xae\x22\x23\
                     \xb0\x03\x61\xa3\x96\x17\x7a\x9c\xb4\x10\xff\x61\xf2\x00\x15\xad";
        assert_eq!(sha256(b"abc"), abc);
        let jefe = *b"\x5b\xdc\xc1\x46\xbf\x60\x75\x4e\x6a\x04\x24\x26\x08\x95\x75\xc7\
                      \x5a\x00\x3f\x08\x9d\x27\x39\x83\x9d\xec\x58\xb9\x64\xec\x38\x43";
        let signed = MacKey::new(b"Jefe").sign(b"what do ya want for nothing?");
        assert_eq!(signed, jefe);
    }

    #[test]
    fn hashing_a_padded_block_gives_the_digest_of_its_message() {
        let mut block = EMPTY_BLOCK;
        for (place, byte) in block[..ONE_BLOCK_LEN].iter_mut().zip(1..) {
            *place = byte;
        }
        assert_eq!(sha256_block(&block), sha256(&block[..ONE_BLOCK_LEN]));
    }
}
