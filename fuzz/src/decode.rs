//! Operations out of bytes: one byte says which, and those after it say what.

use super::model::{Area, End, Operation, Place, Rules, Saw, Sunset, Which};

/// The operations that `data` stands for. Every byte string is some.
pub(crate) fn operations(data: &[u8]) -> Vec<Operation> {
    let mut input = Input(data);
    let mut operations = Vec::new();
    while !input.0.is_empty() && operations.len() < OPERATIONS_MAX {
        operations.push(input.operation());
    }
    operations
}

/// More do not find more, and take longer.
const OPERATIONS_MAX: usize = 120;

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn operation(&mut self) -> Operation {
        // What makes and uses keys comes more often than what ends them all.
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
                saw: self.saw(),
                name: self.rarely(Self::byte),
                scoped: self.rarely(|input| input.one_in(2)),
                ends: self.rarely(Self::signed),
            },
            13..=16 => Operation::Rotate {
                key: self.byte(),
                place: self.place(),
                saw: self.saw(),
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
            21..=22 => Operation::Cut {
                area: self.area(),
                close: self.one_in(2),
            },
            23..=24 => Operation::Open { area: self.area() },
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
                    dark: self.seconds(),
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

    /// The lengths of time at whose ends something happens, and those beside them.
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

    fn saw(&mut self) -> Saw {
        match self.byte() % 8 {
            0..=3 => Saw::Anything,
            4..=6 => Saw::Last,
            _ => Saw::Older,
        }
    }

    fn area(&mut self) -> Area {
        match self.byte() % 4 {
            0 => Area::Team(self.byte()),
            1 => Area::Namespace(self.byte()),
            _ => Area::Owner(self.byte(), self.byte()),
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

    fn which(&mut self) -> Which {
        match self.byte() % 8 {
            0..=2 => Which::Current,
            3..=4 => Which::Replaced,
            5 => Which::First,
            6 => Which::Foreign(self.byte()),
            _ => Which::Garbled(self.byte()),
        }
    }
}
