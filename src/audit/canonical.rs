//! The byte form that the audit chain and the hashes of records cover.

use alloc::vec::Vec;

use crate::{
    audit::change::{Fields, Value},
    cutoff::{Cutoff, Target},
    hash::sha256,
    identity::{Actor, Owner, Tenant},
    legacy::LegacyRecord,
    name::Reason,
    record::{KeyRecord, PreviousSecret, Status},
    revocation::{Revocation, RevocationCause},
    store::Item,
    timestamp::Timestamp,
};

/// Writes values in a form that is different for different values.
///
/// A number has 8 bytes, big endian. A text has a length prefix: 0 if it is absent, n + 1 for n
/// bytes, so absent and empty differ. A list has the number of its elements in front.
pub(super) struct Canonical(Vec<u8>);

impl Canonical {
    /// Begins with a tag of 4 bytes, which names the format.
    pub(super) fn new(tag: [u8; 4]) -> Self {
        let mut bytes = Vec::with_capacity(512);
        bytes.extend_from_slice(&tag);
        Self(bytes)
    }

    pub(super) fn hash(&self) -> [u8; 32] {
        sha256(&self.0)
    }

    pub(super) fn bytes(&mut self, bytes: &[u8; 32]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_be_bytes());
    }

    pub(super) fn moment(&mut self, at: Timestamp) {
        self.0.extend_from_slice(&at.as_unix().to_be_bytes());
    }

    pub(super) fn text(&mut self, text: &str) {
        self.optional(Some(text));
    }

    pub(super) fn optional(&mut self, text: Option<&str>) {
        self.length(text.map_or(0, |text| text.len().saturating_add(1)));
        self.0
            .extend_from_slice(text.unwrap_or_default().as_bytes());
    }

    pub(super) fn shown(&mut self, value: Option<&impl core::fmt::Display>) {
        let text = value.map(|value| alloc::format!("{value}"));
        self.optional(text.as_deref());
    }

    pub(super) fn length(&mut self, length: usize) {
        self.number(length as u64);
    }

    /// A byte says of which kind the value is; 0 if there is none.
    pub(super) fn value(&mut self, value: Option<&Value>) {
        match value {
            None => self.0.push(0),
            Some(Value::Flag(flag)) => self.0.extend_from_slice(&[1, u8::from(*flag)]),
            Some(Value::Number(number)) => {
                self.0.push(2);
                self.number(*number);
            }
            Some(Value::Text(text)) => {
                self.0.push(3);
                self.text(text);
            }
            Some(Value::List(texts)) => {
                self.0.push(4);
                self.length(texts.len());
                for text in texts {
                    self.text(text);
                }
            }
        }
    }

    /// Everything that an item of the change feed holds.
    pub(super) fn item(&mut self, item: &Item) {
        match item {
            Item::Key(record) => self.key(record),
            Item::KeyDeleted { id, tenant } => {
                self.text("key_deleted");
                self.shown(Some(id));
                self.tenant(tenant);
            }
            Item::Cutoff(cutoff) => self.cutoff(cutoff),
            Item::Legacy(record) => self.legacy(record),
            Item::Policy(place, policy) => {
                self.text("policy");
                self.place(place.as_ref());
                self.0.push(u8::from(policy.is_some()));
                self.fields(&item.fields());
            }
            Item::LegacyPolicy(place, policy) => {
                self.text("legacy_policy");
                self.place(place.as_ref());
                self.0.push(u8::from(policy.is_some()));
                self.fields(&item.fields());
            }
        }
    }

    fn key(&mut self, record: &KeyRecord) {
        // The fields that are `_` are among those that the audit trail lists.
        let KeyRecord {
            id,
            tenant,
            owner,
            name: _,
            labels: _,
            scopes: _,
            digest,
            previous,
            created_at,
            created_by,
            updated_at,
            issued_at: _,
            not_before: _,
            expires_at: _,
            status,
            created_revision,
            revision,
        } = record;
        self.text("key");
        self.shown(Some(id));
        self.tenant(tenant);
        self.shown(Some(owner));
        self.fields(&record.fields());
        self.text(&digest.to_text());
        let previous = previous.as_ref();
        self.optional(previous.map(|old| old.digest.to_text()).as_deref());
        if let Some(PreviousSecret { issued_at, .. }) = previous {
            self.moment(*issued_at);
        }
        self.moment(*created_at);
        self.actor(created_by);
        self.moment(*updated_at);
        self.revocation(match status {
            Status::Revoked(revocation) => Some(revocation),
            Status::Active | Status::Disabled => None,
        });
        self.number(created_revision.get());
        self.number(revision.get());
    }

    fn legacy(&mut self, record: &LegacyRecord) {
        let LegacyRecord {
            id,
            tenant,
            subject: _,
            digest,
            blocked: _,
            imported_at,
            imported_by,
            revoked,
            created_revision,
            revision,
        } = record;
        self.text("legacy");
        self.shown(Some(id));
        self.tenant(tenant);
        self.fields(&record.fields());
        self.text(&digest.to_text());
        self.moment(*imported_at);
        self.actor(imported_by);
        self.revocation(revoked.as_ref());
        self.number(created_revision.get());
        self.number(revision.get());
    }

    fn cutoff(&mut self, cutoff: &Cutoff) {
        let Cutoff {
            target,
            up_to: _,
            blocked: _,
            revocation,
            revision,
        } = cutoff;
        self.text("cutoff");
        match target {
            Target::Team(team) => {
                self.text("team");
                self.text(team.as_str());
            }
            Target::Namespace(tenant) => {
                self.text("namespace");
                self.tenant(tenant);
            }
            Target::Owner(team, owner) => {
                self.text("owner");
                self.text(team.as_str());
                self.shown(Some(owner));
            }
        }
        self.fields(&cutoff.fields());
        self.revocation(Some(revocation));
        self.number(revision.get());
    }

    fn fields(&mut self, fields: &Fields) {
        self.length(fields.len());
        for (field, value) in fields {
            self.text(field.as_str());
            self.value(Some(value));
        }
    }

    fn tenant(&mut self, tenant: &Tenant) {
        self.text(tenant.team.as_str());
        self.text(tenant.namespace.as_str());
    }

    /// Where a policy applies: a namespace, or everywhere.
    fn place(&mut self, tenant: Option<&Tenant>) {
        self.0.push(u8::from(tenant.is_some()));
        if let Some(tenant) = tenant {
            self.tenant(tenant);
        }
    }

    pub(super) fn actor(&mut self, actor: &Actor) {
        self.shown(actor.owner.as_ref());
        self.shown(actor.credential.as_ref());
    }

    fn revocation(&mut self, revocation: Option<&Revocation>) {
        self.0.push(u8::from(revocation.is_some()));
        if let Some(Revocation {
            at,
            by,
            cause,
            reason,
        }) = revocation
        {
            self.moment(*at);
            self.actor(by);
            self.text(match cause {
                RevocationCause::Key => "key",
                RevocationCause::Owner => "owner",
                RevocationCause::Namespace => "namespace",
                RevocationCause::Team => "team",
            });
            self.optional(reason.as_ref().map(Reason::as_str));
        }
    }
}

impl Canonical {
    /// An owner or nothing.
    pub(super) fn owner(&mut self, owner: Option<&Owner>) {
        self.shown(owner);
    }
}
