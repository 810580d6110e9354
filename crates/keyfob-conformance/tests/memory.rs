//! The reference store shows every behaviour.

keyfob_conformance::suite!(keyfob::MemoryStore::new());
