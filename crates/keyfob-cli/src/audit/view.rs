//! An audit event, as it is shown.

use keyfob::{
    audit::{AuditEvent, FieldChange},
    key::{CredentialId, KeyFormat},
    store::Revision,
};
use serde::Serialize;

use crate::terminal::TableView;

#[derive(Serialize)]
pub(super) struct EventView {
    pub(super) revision: u64,
    pub(super) at: String,
    pub(super) actor: String,
    actor_credential: Option<String>,
    pub(super) action: &'static str,
    pub(super) team: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) owner: Option<String>,
    pub(super) credential: Option<String>,
    pub(super) reason: Option<String>,
    request_id: Option<String>,
    changes: Vec<FieldChange>,
    replaces: Option<u64>,
    record: Option<String>,
    hash: String,
}

impl EventView {
    pub(super) fn new(event: &AuditEvent, format: &KeyFormat) -> Self {
        let entry = &event.entry;
        let credential = |id: Option<CredentialId>| id.map(|id| format.credential_id(id));
        Self {
            revision: event.revision.get(),
            at: entry.at.to_string(),
            actor: match (&entry.actor.owner, entry.actor.credential) {
                (Some(owner), _) => owner.to_string(),
                (None, Some(_)) => "somebody".to_owned(),
                (None, None) => "system".to_owned(),
            },
            actor_credential: credential(entry.actor.credential),
            action: entry.action.as_str(),
            team: entry.team.as_ref().map(ToString::to_string),
            namespace: entry.namespace.as_ref().map(ToString::to_string),
            owner: entry.owner.as_ref().map(ToString::to_string),
            credential: credential(entry.credential),
            reason: entry.reason.as_ref().map(ToString::to_string),
            request_id: entry.request_id.as_ref().map(ToString::to_string),
            changes: entry.changes.clone(),
            replaces: entry.replaces.map(Revision::get),
            record: entry.record.map(|record| record.to_string()),
            hash: event.hash.to_string(),
        }
    }

    /// The changes of something that there was before and is still, for a list: those of a creation
    /// or a deletion are all that the object has.
    pub(super) fn replaced(&self) -> String {
        let is_left = self.changes.iter().any(|change| change.new.is_some());
        if self.replaces.is_none() || !is_left {
            return "-".to_owned();
        }
        let changes: Vec<String> = self.changes.iter().map(ToString::to_string).collect();
        changes.join("; ")
    }

    /// All that the event says but its hashes, in one line.
    pub(super) fn line(&self) -> String {
        let mut line = format!(
            "{} {} {} {}",
            self.revision, self.at, self.actor, self.action
        );
        let objects = [&self.team, &self.namespace, &self.owner, &self.credential];
        for object in objects.into_iter().flatten() {
            line.push(' ');
            line.push_str(object);
        }
        for change in &self.changes {
            line.push_str("; ");
            line.push_str(&change.to_string());
        }
        if let Some(reason) = &self.reason {
            line.push_str("; reason: ");
            line.push_str(reason);
        }
        line
    }

    /// All that the event says, one line for each change.
    pub(super) fn details(&self) -> TableView {
        let mut table = TableView::pairs();
        table
            .pair("revision", self.revision)
            .pair("at", &self.at)
            .pair("by", &self.actor)
            .pair_if("with", self.actor_credential.as_ref())
            .pair("action", self.action)
            .pair_if("team", self.team.as_ref())
            .pair_if("namespace", self.namespace.as_ref())
            .pair_if("owner", self.owner.as_ref())
            .pair_if("credential", self.credential.as_ref())
            .pair_if("reason", self.reason.as_ref())
            .pair_if("request", self.request_id.as_ref());
        for (at, change) in self.changes.iter().enumerate() {
            table.pair(if at == 0 { "changes" } else { "" }, change);
        }
        table
            .pair_if("replaces revision", self.replaces)
            .pair_if("record", self.record.as_ref())
            .pair("hash", &self.hash);
        table
    }
}
