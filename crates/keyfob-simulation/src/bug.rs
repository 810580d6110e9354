//! Planted bugs, which show that the invariants can fail.

use clap::ValueEnum;

/// What a driver does wrong, with the real state machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
#[non_exhaustive]
pub enum Bug {
    /// A replica confirms its index as of the arrival of a frame in place of its `as_of`.
    ConfirmsByArrival,
    /// A replica confirms its index as of the time at which the relay sent the frame.
    TrustsTheRelaysTime,
    /// A replica confirms its index by a frame after which more follows.
    ConfirmsWithMoreToCome,
    /// A replica applies frames that start elsewhere.
    IgnoresFrom,
    /// A replica applies frames without checking their signature.
    IgnoresSignatures,
    /// A replica trusts signers that it does not know, and those that were retired.
    TrustsAnySigner,
    /// A replica applies frames of a time to come.
    AcceptsTheFuture,
    /// A replica loads snapshots that are older than what it had.
    AcceptsOlderSnapshots,
    /// A replica confirms its index by a snapshot that may lack what it had accepted.
    ConfirmsUnprovenSnapshots,
    /// A replica applies frames of other filters.
    AcceptsOtherFilters,
    /// A replica that must load a snapshot keeps what it had.
    KeepsTheOldHistory,
    /// A replica ignores tombstones.
    SkipsTombstones,
    /// A replica ignores cutoffs in snapshots.
    SkipsCutoffsOfSnapshots,
    /// A replica confirms what it saved as of its restart.
    RestartsWithoutAge,
    /// A replica applies saved signers documents although the pinned signers were changed since.
    RestoresOverNewPins,
    /// A replica believes a wall clock that ran back.
    HasNoRatchet,
    /// A usage batch with an unknown outcome is sent again under a new sequence.
    RenumbersUsage,
    /// A usage batch with an unknown outcome is not sent again.
    ForgetsUsage,
    /// A replica does not turn away from an upstream that is behind.
    StaysWithASlowUpstream,
    /// A replica that meets a gap waits for the missing frame.
    WaitsAtAGap,
    /// A relay stays with a broker that lost a line, or is silent or late.
    StaysWithTheBroker,
}
