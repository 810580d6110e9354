//! What every command works with.

use keyfob::{
    Actor, Context, KeyId, Keyring, Tenant, Timestamp,
    key::{KeyFormat, Peppers},
    name::{NamespaceId, Reason, TeamId},
};

use crate::{
    failure::Failure,
    moment,
    redact::redact,
    settings::Settings,
    store::{Absent, Store},
    terminal::Terminal,
};

/// The keys of a store, who manages them, and where the answers go.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) keyring: Keyring<Store>,
    pub(crate) terminal: Terminal,
    pub(crate) now: Timestamp,
    pub(crate) peppers: Peppers,
    actor: Actor,
    team: Option<TeamId>,
    namespace: Option<NamespaceId>,
}

impl Desk {
    /// Opens the store of the settings.
    pub(crate) async fn open(
        settings: Settings,
        terminal: Terminal,
        absent: Absent,
    ) -> Result<Self, Failure> {
        let store = Store::open(&settings.store.value, absent).await?;
        let peppers = settings.peppers;
        let keyring = Keyring::new(store, settings.prefix.value).with_peppers(peppers.clone());
        Ok(Self {
            keyring,
            terminal,
            now: moment::now(),
            peppers,
            actor: settings.actor.value,
            team: settings.team.value,
            namespace: settings.namespace.value,
        })
    }

    pub(crate) fn format(&self) -> &KeyFormat {
        self.keyring.format()
    }

    /// Who acts.
    pub(crate) fn actor(&self) -> &Actor {
        &self.actor
    }

    /// What accompanies a change.
    pub(crate) fn context(&self, reason: Option<&Reason>) -> Context {
        let context = Context::new(self.actor.clone(), self.now);
        match reason {
            Some(reason) => context.with_reason(reason.clone()),
            None => context,
        }
    }

    /// The team that the command is about.
    pub(crate) fn team(&self) -> Result<&TeamId, Failure> {
        self.team.as_ref().ok_or_else(|| {
            Failure::usage("which team?")
                .hint("give `--team`, or set KEYFOB_TEAM or `team` in the configuration file")
        })
    }

    /// The team, if one is set; none for all of them.
    pub(crate) fn any_team(&self, every_team: bool) -> Option<TeamId> {
        self.team.clone().filter(|_| !every_team)
    }

    /// The namespace, if one is set.
    pub(crate) fn any_namespace(&self) -> Option<NamespaceId> {
        self.namespace.clone()
    }

    /// The namespace that the command is about, with its team.
    pub(crate) fn tenant(&self) -> Result<Tenant, Failure> {
        let team = self.team()?.clone();
        let namespace = self.namespace.clone().ok_or_else(|| {
            Failure::usage("which namespace?")
                .hint("give `--namespace`, or set KEYFOB_NAMESPACE or `namespace` in the configuration file")
        })?;
        Ok(Tenant::new(team, namespace))
    }

    /// Reads a key's identifier, with the prefix or without.
    pub(crate) fn key_id(&self, text: &str) -> Result<KeyId, Failure> {
        if text.contains(':') {
            return Err(Failure::usage("a key's identifier has no colon: this may be a whole credential")
                .hint("give what stands before the colon; if it was the credential, it is in your shell's history now, so rotate the key"));
        }
        let bare = KeyId::from_hex(text.as_bytes());
        bare.or_else(|_| self.format().parse_key_id(text))
            .map_err(|error| {
                Failure::usage(redact(&format!("{error}"))).hint(format!(
                    "identifiers look like {}_v1_ and 32 hexadecimal digits",
                    self.format().prefix()
                ))
            })
    }
}
