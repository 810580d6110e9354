//! Whether verification tells by time what it must not tell: see `README.md`.

pub mod leaky;
pub mod report;
pub mod request;
pub mod situations;
pub mod welch;
