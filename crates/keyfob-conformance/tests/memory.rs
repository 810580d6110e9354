//! The reference store shows every behaviour.

keyfob_conformance::suite!(keyfob::store::MemoryStore::new());
