//! Usage over time.

#[cfg(feature = "std")]
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::{fmt, str::FromStr};

use crate::{
    credential_id::CredentialId,
    name::{NamespaceId, TeamId},
    timestamp::Timestamp,
    usage::{UsageBatch, UsageOutcome},
};

/// What usage is counted for, by day and hour: a credential, and all credentials of a namespace and of
/// a team together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum UsageOf {
    /// A key or a legacy credential.
    Credential(CredentialId),
    /// All credentials of a namespace.
    Namespace(NamespaceId),
    /// All credentials of a team.
    Team(TeamId),
}

/// Writes `key:4f…`, `legacy:23bc46b1-…`, `namespace:orders` or `team:acme`.
impl fmt::Display for UsageOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Credential(id) => fmt::Display::fmt(id, f),
            Self::Namespace(id) => write!(f, "namespace:{id}"),
            Self::Team(id) => write!(f, "team:{id}"),
        }
    }
}

impl FromStr for UsageOf {
    type Err = UsageOfError;

    fn from_str(text: &str) -> Result<Self, UsageOfError> {
        let found = match text.split_once(':') {
            Some(("namespace", id)) => NamespaceId::new(id).ok().map(Self::Namespace),
            Some(("team", id)) => TeamId::new(id).ok().map(Self::Team),
            _ => text.parse().ok().map(Self::Credential),
        };
        found.ok_or(UsageOfError)
    }
}

/// A text does not say what usage is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("usage: must be of key:ID, legacy:UUID, namespace:ID or team:ID")]
pub struct UsageOfError;

/// A query for usage by day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageQuery {
    /// What the usage is of.
    pub of: Vec<UsageOf>,
    /// The first day (since 1970-01-01, in UTC).
    pub first: i64,
    /// The last day. Days after the 400th are not read.
    pub last: i64,
}

impl UsageQuery {
    /// The days that are read, at most [`UsageBatch::DAYS_KEPT`].
    pub fn days(&self) -> core::ops::RangeInclusive<i64> {
        let most = i64::from(UsageBatch::DAYS_KEPT);
        let end = self.first.saturating_add(most).saturating_sub(1);
        self.first..=self.last.min(end)
    }
}

/// The uses of one day with one outcome, as a store counts them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct UsageDay {
    /// What was used.
    #[cfg_attr(feature = "serde", serde(serialize_with = "as_text"))]
    pub of: UsageOf,
    /// The day (since 1970-01-01, in UTC).
    pub day: i64,
    /// Whether they are uses of legacy credentials.
    pub legacy: bool,
    /// The outcome.
    pub outcome: UsageOutcome,
    /// The number of uses in each hour of the day.
    pub hours: [u64; 24],
}

#[cfg(feature = "serde")]
fn as_text<S: serde::Serializer>(of: &UsageOf, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(of)
}

/// The length of the buckets of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UsageStep {
    /// Hours.
    Hour,
    /// Days in UTC.
    Day,
}

impl UsageStep {
    /// `hour` or `day`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// The length, in seconds.
    pub const fn seconds(self) -> u32 {
        match self {
            Self::Hour => 3_600,
            Self::Day => 86_400,
        }
    }

    /// The largest number of buckets in a range: 31 days in hours, 400 days.
    pub const fn most(self) -> u16 {
        match self {
            Self::Hour => 31 * 24,
            Self::Day => UsageBatch::DAYS_KEPT,
        }
    }
}

impl fmt::Display for UsageStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A range of time in hours or days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsageRange {
    step: UsageStep,
    start: Timestamp,
    len: u16,
}

impl UsageRange {
    /// Creates the range of the buckets that have a part of the time from `from` up to and excluding
    /// `to`.
    ///
    /// # Errors
    ///
    /// - `to` is not after `from` -> [`UsageRangeError::Empty`]
    /// - it has more than [`UsageStep::most`] buckets -> [`UsageRangeError::TooLong`]
    pub fn new(step: UsageStep, from: Timestamp, to: Timestamp) -> Result<Self, UsageRangeError> {
        if to <= from {
            return Err(UsageRangeError::Empty);
        }
        let seconds = i64::from(step.seconds());
        let first = from.as_unix().div_euclid(seconds);
        let last = to.as_unix().saturating_sub(1).div_euclid(seconds);
        let len = last.saturating_sub(first).saturating_add(1);
        match u16::try_from(len) {
            Ok(len) if len <= step.most() => Ok(Self {
                step,
                start: Timestamp::from_unix(first.saturating_mul(seconds)),
                len,
            }),
            _ => Err(UsageRangeError::TooLong { step }),
        }
    }

    /// Creates the range of the last `len` buckets at `now`, the current one included; at least one,
    /// at most [`UsageStep::most`].
    pub fn last(step: UsageStep, len: u16, now: impl Into<Timestamp>) -> Self {
        let len = len.clamp(1, step.most());
        let seconds = i64::from(step.seconds());
        let current = now.into().as_unix().div_euclid(seconds);
        let first = current.saturating_add(1).saturating_sub(len.into());
        Self {
            step,
            start: Timestamp::from_unix(first.saturating_mul(seconds)),
            len,
        }
    }

    /// The length of its buckets.
    pub fn step(&self) -> UsageStep {
        self.step
    }

    /// The start of its first bucket.
    pub fn from(&self) -> Timestamp {
        self.start
    }

    /// The end of its last bucket: the first moment after it.
    pub fn to(&self) -> Timestamp {
        self.at(usize::from(self.len))
    }

    /// The start of a bucket.
    fn at(&self, bucket: usize) -> Timestamp {
        let seconds = u64::from(self.step.seconds());
        let bucket = u64::try_from(bucket).unwrap_or(u64::MAX);
        self.start.plus_seconds(bucket.saturating_mul(seconds))
    }
}

/// What a keyring asks a store for, and makes of its answer.
#[cfg(feature = "std")]
impl UsageRange {
    /// The query for the days of the range.
    pub(crate) fn query(&self, of: &[UsageOf]) -> UsageQuery {
        UsageQuery {
            of: of.to_vec(),
            first: self.start.as_unix().div_euclid(86_400),
            last: self.to().as_unix().saturating_sub(1).div_euclid(86_400),
        }
    }

    /// The series of what was asked for, in that order.
    pub(crate) fn series(&self, of: &[UsageOf], days: &[UsageDay]) -> Vec<UsageSeries> {
        let mut by: BTreeMap<&UsageOf, Vec<&UsageDay>> = BTreeMap::new();
        for day in days {
            by.entry(&day.of).or_default().push(day);
        }
        let one = |of: &UsageOf| {
            let buckets = (0..usize::from(self.len)).map(|at| UsageBucket {
                start: self.at(at),
                ..UsageBucket::default()
            });
            let mut series = UsageSeries {
                of: of.clone(),
                buckets: buckets.collect(),
            };
            for day in by.get(of).into_iter().flatten() {
                self.add(day, &mut series.buckets);
            }
            series
        };
        of.iter().map(one).collect()
    }

    fn add(&self, day: &UsageDay, buckets: &mut [UsageBucket]) {
        for (hour, count) in (0_i64..).zip(day.hours) {
            let at = day.day.saturating_mul(24).saturating_add(hour);
            let since = at
                .saturating_mul(3_600)
                .saturating_sub(self.start.as_unix());
            let bucket = since.div_euclid(self.step.seconds().into());
            let bucket = usize::try_from(bucket).ok();
            if let Some(bucket) = bucket.and_then(|bucket| buckets.get_mut(bucket)) {
                bucket.of_mut(day.legacy).add(day.outcome, count);
            }
        }
    }
}

/// A range of time is not one that usage can be shown of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UsageRangeError {
    /// It ends before it begins.
    #[error("to: must be after from")]
    Empty,
    /// It is too long.
    #[error("from: must be at most {} {step}s before to", step.most())]
    TooLong {
        /// The length of its buckets.
        step: UsageStep,
    },
}

/// Usage over time, with every bucket of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UsageSeries {
    /// What the usage is of.
    pub of: UsageOf,
    /// The buckets, without gaps.
    pub buckets: Vec<UsageBucket>,
}

impl UsageSeries {
    /// Takes away the uses of a part of what the series is of, over the same range.
    pub fn subtract(&mut self, part: &Self) {
        for (bucket, part) in self.buckets.iter_mut().zip(&part.buckets) {
            bucket.keys.subtract(&part.keys);
            bucket.legacy.subtract(&part.legacy);
        }
    }

    /// The sum of all buckets; it starts with the first one.
    pub fn total(&self) -> UsageBucket {
        let start = self.buckets.first().map(|bucket| bucket.start);
        let mut total = UsageBucket {
            start: start.unwrap_or(Timestamp::UNIX_EPOCH),
            ..UsageBucket::default()
        };
        for bucket in &self.buckets {
            total.keys.add_all(&bucket.keys);
            total.legacy.add_all(&bucket.legacy);
        }
        total
    }
}

/// The usage in an hour or a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UsageBucket {
    /// Its first second.
    pub start: Timestamp,
    /// The uses of keys.
    pub keys: UsageCounts,
    /// The uses of legacy credentials.
    pub legacy: UsageCounts,
}

impl Default for UsageBucket {
    fn default() -> Self {
        Self {
            start: Timestamp::UNIX_EPOCH,
            keys: UsageCounts::default(),
            legacy: UsageCounts::default(),
        }
    }
}

impl UsageBucket {
    /// The number of accepted uses, of keys and of legacy credentials.
    pub fn accepted(&self) -> u64 {
        let keys = self.keys.accepted();
        keys.saturating_add(self.legacy.accepted())
    }

    /// The number of refused uses, of keys and of legacy credentials.
    pub fn refused(&self) -> u64 {
        let keys = self.keys.refused();
        keys.saturating_add(self.legacy.refused())
    }

    #[cfg(feature = "std")]
    fn of_mut(&mut self, legacy: bool) -> &mut UsageCounts {
        if legacy {
            &mut self.legacy
        } else {
            &mut self.keys
        }
    }
}

/// Numbers of uses by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageCounts([u64; UsageOutcome::ALL.len()]);

impl UsageCounts {
    /// The number of uses with this outcome.
    pub fn of(&self, outcome: UsageOutcome) -> u64 {
        self.0.get(outcome as usize).copied().unwrap_or_default()
    }

    /// The number of accepted uses, with the current secret or with the one before.
    pub fn accepted(&self) -> u64 {
        let current = self.of(UsageOutcome::Accepted);
        current.saturating_add(self.accepted_previous())
    }

    /// The number of accepted uses with the secret before the last rotation.
    pub fn accepted_previous(&self) -> u64 {
        self.of(UsageOutcome::AcceptedPrevious)
    }

    /// The number of refused uses.
    pub fn refused(&self) -> u64 {
        self.reasons()
            .fold(0, |sum, (_, count)| sum.saturating_add(count))
    }

    /// The reasons for which uses were refused, with their numbers.
    pub fn reasons(&self) -> impl Iterator<Item = (UsageOutcome, u64)> {
        let counted = UsageOutcome::ALL.into_iter().zip(self.0);
        counted.filter(|(outcome, count)| !outcome.is_accepted() && *count > 0)
    }

    fn add(&mut self, outcome: UsageOutcome, count: u64) {
        if let Some(known) = self.0.get_mut(outcome as usize) {
            *known = known.saturating_add(count);
        }
    }

    fn subtract(&mut self, part: &Self) {
        for (known, part) in self.0.iter_mut().zip(part.0) {
            *known = known.saturating_sub(part);
        }
    }

    fn add_all(&mut self, other: &Self) {
        for (outcome, count) in UsageOutcome::ALL.into_iter().zip(other.0) {
            self.add(outcome, count);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::{string::ToString, vec};

    use super::*;
    use crate::key_id::KeyId;

    fn at(day: i64, hour: i64) -> Timestamp {
        Timestamp::from_unix(day * 86_400 + hour * 3_600)
    }

    fn orders() -> UsageOf {
        UsageOf::Namespace(NamespaceId::new("orders").unwrap())
    }

    fn day(day: i64, legacy: bool, outcome: UsageOutcome, uses: &[(usize, u64)]) -> UsageDay {
        let mut hours = [0; 24];
        for (hour, count) in uses {
            hours[*hour] = *count;
        }
        UsageDay {
            of: orders(),
            day,
            legacy,
            outcome,
            hours,
        }
    }

    #[test]
    fn what_usage_is_of_has_one_text_form() {
        let key = CredentialId::Key(KeyId::from_bytes([7; 16]));
        let team = UsageOf::Team(TeamId::new("acme").unwrap());
        for of in [UsageOf::Credential(key), orders(), team] {
            assert_eq!(of.to_string().parse(), Ok(of));
        }
        for bad in ["", "orders", "namespace:", "team:\n", "key:7"] {
            assert_eq!(bad.parse::<UsageOf>(), Err(UsageOfError), "{bad}");
        }
    }

    #[test]
    fn a_range_has_whole_buckets_and_is_bounded() {
        let later = |moment: Timestamp| moment.plus_seconds(1);
        let (from, to) = (at(10, 5), at(12, 0));
        let days = UsageRange::new(UsageStep::Day, from, to).unwrap();
        assert_eq!(
            (days.from(), days.to(), days.len),
            (at(10, 0), at(12, 0), 2)
        );
        let days = UsageRange::new(UsageStep::Day, from, later(to)).unwrap();
        assert_eq!((days.to(), days.len), (at(13, 0), 3));
        let hours = UsageRange::new(UsageStep::Hour, later(from), later(to)).unwrap();
        assert_eq!((hours.from(), hours.to()), (at(10, 5), at(12, 1)));
        assert_eq!(
            UsageRange::new(UsageStep::Hour, to, to),
            Err(UsageRangeError::Empty)
        );
        for (step, most) in [(UsageStep::Hour, 31), (UsageStep::Day, 400)] {
            assert!(UsageRange::new(step, at(0, 0), at(most, 0)).is_ok());
            assert_eq!(
                UsageRange::new(step, at(0, 0), later(at(most, 0))),
                Err(UsageRangeError::TooLong { step })
            );
            let all = UsageRange::last(step, u16::MAX, at(most, 0));
            assert_eq!(all.len, step.most());
        }
        let whole = UsageRange::new(UsageStep::Hour, Timestamp::MIN, Timestamp::MAX);
        assert!(whole.is_err());
        let last = UsageRange::last(UsageStep::Hour, 24, at(10, 5));
        assert_eq!((last.from(), last.to()), (at(9, 6), at(10, 6)));
        let last = UsageRange::last(UsageStep::Day, 0, at(10, 5));
        assert_eq!((last.from(), last.to()), (at(10, 0), at(11, 0)));
        assert_eq!(last.query(&[]).days(), 10..=10);
    }

    #[test]
    fn a_series_has_every_bucket_and_each_use_once() {
        use UsageOutcome::{Accepted, Expired, WrongNamespace};
        let days = [
            day(10, false, Accepted, &[(0, 1), (23, 2)]),
            day(10, true, Accepted, &[(5, 4)]),
            day(12, false, Expired, &[(1, 8)]),
            day(12, false, WrongNamespace, &[(1, 16), (2, 32)]),
        ];
        let range = UsageRange::new(UsageStep::Day, at(10, 0), at(13, 0)).unwrap();
        let other = UsageOf::Team(TeamId::new("acme").unwrap());
        let found = range.series(&[other.clone(), orders()], &days);
        assert_eq!(found[0].of, other);
        assert_eq!(found[0].total(), found[0].buckets[0], "nothing");
        let series = &found[1];
        let starts = series.buckets.iter().map(|bucket| bucket.start);
        assert_eq!(
            starts.collect::<Vec<_>>(),
            [10, 11, 12].map(|day| at(day, 0))
        );
        let counts = |bucket: &UsageBucket| {
            let (keys, legacy) = (bucket.keys, bucket.legacy);
            [
                keys.accepted(),
                keys.refused(),
                legacy.accepted(),
                legacy.refused(),
            ]
        };
        let counted: Vec<_> = series.buckets.iter().map(counts).collect();
        assert_eq!(counted, [[3, 0, 4, 0], [0; 4], [0, 56, 0, 0]]);
        assert_eq!(counts(&series.total()), [3, 56, 4, 0]);
        assert_eq!(
            (series.total().accepted(), series.total().refused()),
            (7, 56)
        );
        let reasons: Vec<_> = series.buckets[2].keys.reasons().collect();
        assert_eq!(reasons, vec![(Expired, 8), (WrongNamespace, 48)]);
        let part = [day(10, false, Accepted, &[(0, 1)])];
        let part = range.series(&[orders()], &part).remove(0);
        let mut rest = series.clone();
        rest.subtract(&part);
        assert_eq!(counts(&rest.total()), [2, 56, 4, 0]);
        // By hour, from the middle of a day.
        let range = UsageRange::new(UsageStep::Hour, at(10, 5), at(12, 2)).unwrap();
        let series = range.series(&[orders()], &days).remove(0);
        assert_eq!(series.buckets.len(), 45);
        assert_eq!(counts(&series.total()), [2, 24, 4, 0]);
        assert_eq!(counts(&series.buckets[0]), [0, 0, 4, 0]);
        assert_eq!(counts(&series.buckets[18]), [2, 0, 0, 0]);
    }
}
