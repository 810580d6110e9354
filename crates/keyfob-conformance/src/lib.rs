//! The behaviours that every `KeyStore` must show.
