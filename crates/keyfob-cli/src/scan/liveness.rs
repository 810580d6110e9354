//! Whether a find is live, according to the store.

use keyfob::{
    Access, Denied, DenyReason, KeyId, Principal, Tenant, Timestamp, Verifier,
    key::{KeyFormat, PresentedKey},
    legacy::{LegacyId, PresentedLegacy},
    manage,
    name::Reason,
};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::{command_context::CommandContext, failure::Failure};

use super::{
    FindView,
    finder::{Find, Kind},
};

/// Checks finds against a store, if there is one.
pub(super) struct LivenessCheck {
    store: Option<Asked>,
}

/// The store that is asked.
struct Asked {
    format: KeyFormat,
    verifier: Verifier,
    now: Timestamp,
}

/// The key ids in a file, to which single secrets may belong.
pub(super) struct Candidates {
    /// In the order of their offsets.
    ids: Vec<(u64, KeyId)>,
    /// Whether those that the store does not know were removed.
    known: bool,
    /// How many more pairs are tried.
    tries: u64,
    exhausted: bool,
}

impl Candidates {
    pub(super) fn new(ids: Vec<(u64, KeyId)>) -> Self {
        Self {
            ids,
            known: false,
            tries: TRIES_MAX,
            exhausted: false,
        }
    }

    /// Whether pairs were left out, because there are too many.
    pub(super) fn exhausted(&self) -> bool {
        self.exhausted
    }

    /// The ids from the nearest to the farthest.
    fn nearest_first(&self, offset: u64) -> impl Iterator<Item = KeyId> {
        let after = self.ids.partition_point(|(at, _)| *at <= offset);
        let (before, after) = self.ids.split_at(after);
        let (mut before, mut after) = (before.iter().rev().peekable(), after.iter().peekable());
        std::iter::from_fn(move || {
            let back = before.peek().map(|(at, _)| offset - at);
            let forth = after.peek().map(|(at, _)| at - offset);
            let next = match (back, forth) {
                (Some(back), Some(forth)) if forth < back => after.next(),
                (None, _) => after.next(),
                _ => before.next(),
            };
            next.map(|(_, id)| *id)
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// It works now: everybody who read the file can use it.
    Live,
    /// It does not work.
    Dead,
    /// No store was used, or only the secret is known.
    Unknown,
}

/// The result for a find.
pub(super) struct Liveness {
    pub(super) id: Option<String>,
    pub(super) state: State,
    pub(super) reason: Option<&'static str>,
    pub(super) owner: Option<String>,
    pub(super) tenant: Option<Tenant>,
    /// The refusal of a credential whose secret is right: it may work again.
    pub(super) refused: Option<Denied>,
}

impl Liveness {
    const UNKNOWN: Self = Self {
        id: None,
        state: State::Unknown,
        reason: None,
        owner: None,
        tenant: None,
        refused: None,
    };
}

impl LivenessCheck {
    pub(super) fn offline() -> Self {
        Self { store: None }
    }

    pub(super) async fn over(cx: &CommandContext) -> Result<Self, Failure> {
        Ok(Self {
            store: Some(Asked {
                format: *cx.format(),
                verifier: cx.verifier().await?,
                now: cx.now,
            }),
        })
    }

    /// Checks a find; `candidates` are the ids in the same file, and one of them may belong to a
    /// single secret.
    pub(super) fn check(&self, find: &Find, candidates: &mut Candidates) -> Liveness {
        if find.kind == Kind::Secret {
            return self.check_secret(find, candidates);
        }
        let id = if let Some(format) = &find.format {
            let key = PresentedKey::parse(format, &find.text);
            key.ok().map(|key| format.key_id(key.id()))
        } else {
            let legacy = PresentedLegacy::parse(&find.text);
            legacy.ok().map(|legacy| legacy.id().to_string())
        };
        if find.format.is_some_and(|format| self.is_foreign(format)) {
            // A key of another installation: this store cannot say anything about it.
            return Liveness {
                id,
                ..Liveness::UNKNOWN
            };
        }
        self.ask(&find.text, id)
    }

    /// Whether keys of this prefix are not of the store.
    fn is_foreign(&self, format: KeyFormat) -> bool {
        let asked = self.store.as_ref();
        asked.is_some_and(|asked| asked.format != format)
    }

    /// A secret only works with its id, which may be in the same file.
    fn check_secret(&self, find: &Find, candidates: &mut Candidates) -> Liveness {
        let Some(asked) = &self.store else {
            return Liveness::UNKNOWN;
        };
        if find.format != Some(asked.format) {
            return Liveness::UNKNOWN;
        }
        let with = |id: KeyId| {
            let id = asked.format.key_id(id);
            let mut text = Zeroizing::new(Vec::with_capacity(asked.format.credential_len()));
            for part in [id.as_bytes(), b":", &find.text] {
                text.extend_from_slice(part);
            }
            self.ask(&text, Some(id))
        };
        if !std::mem::replace(&mut candidates.known, true) {
            // A secret belongs to a key of the store, or to none here.
            let unknown = Some(DenyReason::UnknownKey.as_str());
            candidates.ids.retain(|(_, id)| with(*id).reason != unknown);
        }
        let matching = |liveness: &Liveness| {
            let reason = liveness.reason;
            let other = [
                DenyReason::UnknownKey.as_str(),
                DenyReason::WrongSecret.as_str(),
            ];
            liveness.state != State::Unknown && reason.is_none_or(|reason| !other.contains(&reason))
        };
        let (mut tries, mut exhausted) = (candidates.tries, false);
        let found = candidates
            .nearest_first(find.offset)
            .take_while(|_| {
                exhausted |= tries == 0;
                tries = tries.saturating_sub(1);
                !exhausted
            })
            .map(with)
            .find(matching);
        candidates.tries = tries;
        candidates.exhausted |= exhausted;
        found.unwrap_or(Liveness::UNKNOWN)
    }

    fn ask(&self, text: &[u8], id: Option<String>) -> Liveness {
        let unknown = Liveness {
            id,
            ..Liveness::UNKNOWN
        };
        let Some(Asked { verifier, now, .. }) = &self.store else {
            return unknown;
        };
        match verifier.verify_text(text, &Access::to_own_namespace(), *now) {
            Ok(principal) => Liveness {
                state: State::Live,
                owner: holder(&principal),
                tenant: Some(Tenant::new(
                    principal.team().clone(),
                    principal.namespace().clone(),
                )),
                ..unknown
            },
            Err(denied) => match denied.reason() {
                reason @ (DenyReason::NotReady | DenyReason::Stale | DenyReason::PepperMissing) => {
                    Liveness {
                        reason: Some(reason.as_str()),
                        ..unknown
                    }
                }
                reason => Liveness {
                    state: State::Dead,
                    reason: Some(reason.as_str()),
                    refused: denied.credential().is_some().then_some(denied),
                    ..unknown
                },
            },
        }
    }
}

/// The maximum number of pairs of an id and a secret of one file that are tried: about half a minute.
const TRIES_MAX: u64 = 50_000_000;

fn holder(principal: &Principal<'_>) -> Option<String> {
    let owner = principal.owner().map(|owner| owner.to_string());
    owner.or_else(|| {
        principal
            .legacy_subject()
            .map(|subject| format!("subject:{subject}"))
    })
}

/// Revokes the live finds, and those that could work again.
pub(super) async fn revoke(
    cx: &CommandContext,
    reason: &Reason,
    finds: &mut [FindView],
) -> Result<(), Failure> {
    let context = cx.context(Some(reason));
    let mut done = Vec::new();
    for find in finds {
        let tenant = match (find.state, &find.refused, &find.team, &find.namespace) {
            (State::Live, _, Some(team), Some(namespace)) => {
                Some(Tenant::new(team.parse()?, namespace.parse()?))
            }
            (_, Some(denied), ..) => match cx.keyring.revocable(denied, cx.now).await {
                Ok(revocable) => revocable.map(|(_, tenant)| tenant),
                Err(error) => return Err(Failure::from(error).done_before(done)),
            },
            _ => None,
        };
        let (Some(id), Some(tenant)) = (&find.id, tenant) else {
            continue;
        };
        let revoked = if let Ok(legacy) = LegacyId::parse(id.as_bytes()) {
            let keyring = &cx.keyring;
            keyring.revoke_legacy(&context, &tenant, legacy).await
        } else {
            let id = cx.key_id(id)?;
            cx.keyring
                .revoke(&context, &tenant, id, None)
                .await
                .map(drop)
        };
        match revoked {
            // It was deleted in the meantime; revoke the others.
            Ok(()) | Err(manage::Error::NotFound) => {
                find.revoked = true;
                done.push(id.clone());
            }
            Err(error) => return Err(Failure::from(error).done_before(done)),
        }
    }
    Ok(())
}
