//! What every command works with.

use keyfob::{
    Actor, Context, KeyId, Keyring, Tenant, Timestamp, Verifier,
    gateway::FollowError,
    key::{KeyFormat, Peppers},
    manage::Authority,
    name::{NamespaceId, Reason, TeamId},
    store::Revision,
};

use crate::{
    exit::Exit,
    failure::{Failure, with_sources},
    settings::Settings,
    store::{Absent, Store},
    terminal::Terminal,
};

/// A store with its keyring, the actor, and the terminal for the answer.
pub(crate) struct CommandContext {
    pub(crate) store: Store,
    pub(crate) keyring: Keyring,
    pub(crate) terminal: Terminal,
    pub(crate) now: Timestamp,
    pub(crate) peppers: Peppers,
    actor: Actor,
    team: Option<TeamId>,
    namespace: Option<NamespaceId>,
}

impl CommandContext {
    /// Opens the store of the settings.
    pub(crate) async fn open(
        settings: Settings,
        terminal: Terminal,
        absent: Absent,
    ) -> Result<Self, Failure> {
        let store = Store::open(&settings.store, absent).await?;
        let peppers = settings.peppers;
        let keyring = store.keyring(settings.prefix).await?;
        Ok(Self {
            keyring: keyring.peppers(peppers.clone()).open_to_manage().await?,
            store,
            terminal,
            now: keyfob::now(),
            peppers,
            actor: settings.actor,
            team: settings.team,
            namespace: settings.namespace,
        })
    }

    pub(crate) fn format(&self) -> &KeyFormat {
        self.keyring.format()
    }

    /// Who acts.
    pub(crate) fn actor(&self) -> &Actor {
        &self.actor
    }

    /// The context of a change. The program has direct access to the store, so the actor is only
    /// recorded: no right of theirs is checked.
    pub(crate) fn context(&self, reason: Option<&Reason>) -> Context {
        let context = Context::new(self.actor.clone(), self.now).with_authority(Authority::System);
        match reason {
            Some(reason) => context.with_reason(reason.clone()),
            None => context,
        }
    }

    /// Reads all keys, and returns a verifier for them. It records no usage.
    pub(crate) async fn verifier(&self) -> Result<Verifier, Failure> {
        self.read_all().await?;
        Ok(self.keyring.unbounded_verifier())
    }

    /// Reads all keys, and returns the revision of the store.
    pub(crate) async fn read_all(&self) -> Result<Revision, Failure> {
        match self.keyring.sync(self.now).await {
            Ok(revision) => Ok(revision),
            Err(FollowError::Store(error)) => Err(error.into()),
            Err(error) => Err(Failure::new(Exit::Store, with_sources(&error))),
        }
    }

    /// The team that the command is about.
    pub(crate) fn team(&self) -> Result<&TeamId, Failure> {
        self.team.as_ref().ok_or_else(|| {
            Failure::usage("no team given")
                .hint("give `--team`, or set KEYFOB_TEAM or `team` in the configuration file")
        })
    }

    /// The team if one is set; none for all of them.
    pub(crate) fn any_team(&self, every_team: bool) -> Option<TeamId> {
        self.team.clone().filter(|_| !every_team)
    }

    /// The namespace if one is set.
    pub(crate) fn any_namespace(&self) -> Option<NamespaceId> {
        self.namespace.clone()
    }

    /// The namespace that the command is about, with its team.
    pub(crate) fn tenant(&self) -> Result<Tenant, Failure> {
        let team = self.team()?.clone();
        let namespace = self.namespace.clone().ok_or_else(|| {
            Failure::usage("no namespace given")
                .hint("give `--namespace`, or set KEYFOB_NAMESPACE or `namespace` in the configuration file")
        })?;
        Ok(Tenant::new(team, namespace))
    }

    /// Parses a key id, with the prefix or without.
    pub(crate) fn key_id(&self, text: &str) -> Result<KeyId, Failure> {
        if text.contains(':') {
            return Err(Failure::usage("a key id has no colon: this may be a whole credential")
                .hint("give the part before the colon; if it was the credential, it is now in your shell's history, so rotate the key"));
        }
        let bare = KeyId::from_hex(text.as_bytes());
        bare.or_else(|_| self.format().parse_key_id(text))
            .map_err(|_| {
                Failure::usage(format!(
                    "not a key id: it is {}_v1_ and 32 hexadecimal digits",
                    self.format().prefix()
                ))
                .hint("`keyfob keys list --name NAME` shows the id of the key with a name")
            })
    }

    /// Parses several key ids, all of them before anything is done with one.
    pub(crate) fn key_ids(&self, texts: &[String]) -> Result<Vec<KeyId>, Failure> {
        texts.iter().map(|text| self.key_id(text)).collect()
    }
}
