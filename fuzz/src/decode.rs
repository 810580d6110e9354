//! Decodes operations from bytes: one byte selects the operation, the next ones its arguments.

use super::model::{
    End, ExpectedRevision, ModelTarget, Operation, Place, Rules, Sunset, WhichSecret,
};

/// Decodes the operations in `data`. Every byte string decodes to some.
pub(crate) fn operations(data: &[u8]) -> Vec<Operation> {
    let mut input = Input(data);
    let mut operations = Vec::new();
    while !input.0.is_empty() && operations.len() < OPERATIONS_MAX {
        operations.push(input.operation());
    }
    operations
}

/// More operations do not find more faults, and take longer.
const OPERATIONS_MAX: usize = 120;

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn operation(&mut self) -> Operation {
        // Operations that create and use keys are more frequent than those that revoke all of them.
        match self.byte() % 40 {
            0..=3 => Operation::Pass {
                seconds: self.seconds(),
            },
            4 => Operation::JumpBack {
                seconds: self.seconds(),
            },
            5..=10 => Operation::Create {
                place: self.byte(),
                owner: self.byte(),
                name: self.byte(),
                scoped: self.one_in(4),
                starts: self.rarely(Self::signed),
                end: self.end(),
            },
            11..=12 => Operation::Update {
                key: self.byte(),
                place: self.place(),
                expected_revision: self.expected_revision(),
                name: self.rarely(Self::byte),
                scoped: self.rarely(|input| input.one_in(2)),
                ends: self.rarely(Self::signed),
            },
            13..=16 => Operation::Rotate {
                key: self.byte(),
                place: self.place(),
                expected_revision: self.expected_revision(),
                grace: self.seconds().into(),
                renew: self.rarely(Self::end),
            },
            17 => Operation::Disable {
                key: self.byte(),
                place: self.place(),
            },
            18 => Operation::Enable {
                key: self.byte(),
                place: self.place(),
            },
            19 => Operation::Revoke {
                key: self.byte(),
                place: self.place(),
            },
            20 => Operation::Delete {
                key: self.byte(),
                place: self.place(),
            },
            21..=22 => Operation::RevokeAll {
                target: self.target(),
                block: self.one_in(2),
                in_advance: self.one_in(3),
            },
            23..=24 => Operation::Restore {
                target: self.target(),
            },
            25..=26 => Operation::SetPolicy {
                place: self.rarely(Self::byte),
                rules: (!self.one_in(4)).then(|| self.rules()),
            },
            27 => Operation::Import {
                legacy: self.byte(),
                place: self.byte(),
                blocked: self.one_in(4),
            },
            28 => Operation::RevokeLegacy {
                legacy: self.byte(),
                place: self.byte(),
            },
            29 => Operation::SetLegacyPolicy {
                place: self.rarely(Self::byte),
                sunset: (!self.one_in(4)).then(|| Sunset {
                    lasts: self.seconds(),
                    starts: self.seconds(),
                    length: self.seconds(),
                }),
            },
            30..=33 => Operation::Verify {
                key: self.byte(),
                secret: self.which(),
                namespace: self.rarely(Self::byte),
                writes: self.one_in(4),
            },
            34 => Operation::VerifyLegacy {
                legacy: self.byte(),
                right: !self.one_in(4),
                namespace: self.rarely(Self::byte),
            },
            35 => Operation::LateFeed,
            36 => Operation::Replicate {
                entries: self.byte() % 8,
            },
            37 => Operation::Restart,
            _ => Operation::Check,
        }
    }

    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn one_in(&mut self, many: u8) -> bool {
        self.byte() % many == 1
    }

    fn rarely<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.one_in(3).then(|| make(self))
    }

    /// Durations at which something expires, and their neighbours.
    fn seconds(&mut self) -> u32 {
        const HOUR: u32 = 3600;
        const DAY: u32 = 24 * HOUR;
        const SECONDS: [u32; 16] = [
            0,
            1,
            2,
            59,
            60,
            600,
            HOUR - 1,
            HOUR,
            HOUR + 1,
            2 * HOUR,
            DAY - 1,
            DAY,
            DAY + 1,
            30 * DAY,
            30 * DAY + 1,
            400 * DAY,
        ];
        SECONDS[usize::from(self.byte()) % SECONDS.len()]
    }

    fn signed(&mut self) -> i64 {
        let seconds = i64::from(self.seconds());
        if self.one_in(4) { -seconds } else { seconds }
    }

    fn end(&mut self) -> End {
        match self.byte() % 8 {
            0..=2 => End::Never,
            3..=5 => End::In(self.seconds().into()),
            6 => End::At(self.signed()),
            _ => End::In(u64::MAX >> (self.byte() % 32)),
        }
    }

    fn place(&mut self) -> Place {
        if self.one_in(8) {
            Place::Some(self.byte())
        } else {
            Place::Own
        }
    }

    fn expected_revision(&mut self) -> ExpectedRevision {
        match self.byte() % 8 {
            0..=3 => ExpectedRevision::Any,
            4..=6 => ExpectedRevision::Current,
            _ => ExpectedRevision::Outdated,
        }
    }

    fn target(&mut self) -> ModelTarget {
        match self.byte() % 4 {
            0 => ModelTarget::Team(self.byte()),
            1 => ModelTarget::Namespace(self.byte()),
            _ => ModelTarget::Owner(self.byte(), self.byte()),
        }
    }

    fn rules(&mut self) -> Rules {
        Rules {
            min: self.rarely(Self::seconds).unwrap_or(0).into(),
            max: self.one_in(2).then(|| self.seconds().into()),
            end_required: self.one_in(4),
            keys_per_owner: self.rarely(|input| (input.byte() % 4).into()),
            unique_names: self.one_in(3),
            grace: self.seconds().into(),
        }
    }

    fn which(&mut self) -> WhichSecret {
        match self.byte() % 8 {
            0..=2 => WhichSecret::Current,
            3..=4 => WhichSecret::Replaced,
            5 => WhichSecret::First,
            6 => WhichSecret::Foreign(self.byte()),
            _ => WhichSecret::Garbled(self.byte()),
        }
    }
}
