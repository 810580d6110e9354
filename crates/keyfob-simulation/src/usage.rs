//! SHIM
use keyfob::gateway::Usage;
#[derive(Clone, Debug)]
pub(crate) struct UsageBatch {
    pub(crate) source: [u8; 16],
    pub(crate) sequence: u64,
    pub(crate) usage: Vec<Usage>,
}
