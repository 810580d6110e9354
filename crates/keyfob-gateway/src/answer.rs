//! What a gateway is answered.

use std::{borrow::Cow, fmt, iter, sync::Arc, time::Duration};

use keyfob::{
    Owner, Principal, Scopes, Timestamp,
    key::{CredentialId, KeyFormat},
    name::{NamespaceId, Scope, TeamId},
};

use crate::refusal::{Body, Challenges};

/// The answer to a [`Question`](crate::Question), in the terms of HTTP: a status, fields and a body.
#[derive(Clone, Debug)]
#[must_use]
pub struct Answer(Verdict);

#[derive(Clone, Debug)]
enum Verdict {
    Accepted(Accepted),
    Refused(Refused),
}

#[derive(Clone, Debug)]
pub(crate) struct Accepted {
    pub(crate) identity: Identity,
    /// For how long a proxy may use the answer again, in seconds.
    pub(crate) max_age: u64,
    /// The signed identity.
    pub(crate) token: Option<Arc<str>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) reason: &'static str,
    pub(crate) shows_reason: bool,
    pub(crate) challenges: Option<Arc<Challenges>>,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Body,
}

impl Answer {
    pub(crate) fn accepted(accepted: Accepted) -> Self {
        Self(Verdict::Accepted(accepted))
    }

    pub(crate) fn refused(refused: Refused) -> Self {
        Self(Verdict::Refused(refused))
    }

    /// Whether the request may pass.
    pub fn is_accepted(&self) -> bool {
        self.identity().is_some()
    }

    /// Who sent the request; none if it may not pass.
    pub fn identity(&self) -> Option<&Identity> {
        match &self.0 {
            Verdict::Accepted(accepted) => Some(&accepted.identity),
            Verdict::Refused(_) => None,
        }
    }

    /// The status: 200, or 400, 401, 403, 429 or 503.
    pub fn status(&self) -> u16 {
        match &self.0 {
            Verdict::Accepted(_) => 200,
            Verdict::Refused(refused) => refused.status,
        }
    }

    /// The stable name of the reason, as in `unknown_key`, for logs and metrics; `valid` for a
    /// request that may pass.
    ///
    /// # Security
    ///
    /// Not for the client: it helps those who guess keys.
    pub fn reason(&self) -> &'static str {
        match &self.0 {
            Verdict::Accepted(_) => "valid",
            Verdict::Refused(refused) => refused.reason,
        }
    }

    /// The header fields, without those of the body. All [identity fields](field::IDENTITY) are in the
    /// answer to a request that may pass, empty where there is nothing to say: a gateway that sets
    /// each of them overwrites what the client sent.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, Cow<'_, str>)> {
        let (accepted, refused) = match &self.0 {
            Verdict::Accepted(accepted) => (Some(accepted), None),
            Verdict::Refused(refused) => (None, Some(refused)),
        };
        let accepted = accepted.into_iter().flat_map(Accepted::fields);
        accepted.chain(refused.into_iter().flat_map(Refused::fields))
    }

    /// The body of a refusal.
    pub fn body(&self) -> Option<&Body> {
        match &self.0 {
            Verdict::Accepted(_) => None,
            Verdict::Refused(refused) => Some(&refused.body),
        }
    }
}

impl Accepted {
    fn fields(&self) -> impl Iterator<Item = (&'static str, Cow<'_, str>)> {
        let token = self.token.as_deref().unwrap_or_default();
        let (cache_control, vary) = match self.max_age {
            0 => (Cow::Borrowed(NO_STORE), None),
            // A cache of the proxy's keeps an answer for each credential, also if its key has none.
            seconds => (Cow::Owned(format!("max-age={seconds}")), Some(CREDENTIAL)),
        };
        let vary = vary.map(|vary| (field::VARY, Cow::Borrowed(vary)));
        let fields = [
            (field::TOKEN, Cow::Borrowed(token)),
            (field::CACHE_CONTROL, cache_control),
        ];
        self.identity.fields().chain(fields).chain(vary)
    }
}

impl Refused {
    fn fields(&self) -> impl Iterator<Item = (&'static str, Cow<'_, str>)> {
        let challenges = self
            .challenges
            .iter()
            .flat_map(|challenges| challenges.iter());
        let challenges = challenges.map(|one| (field::WWW_AUTHENTICATE, Cow::Borrowed(one)));
        let retry_after = self.retry_after.map(|wait| {
            let begun = u64::from(wait.subsec_nanos() > 0);
            let seconds = wait.as_secs().saturating_add(begun).max(1);
            (field::RETRY_AFTER, Cow::Owned(seconds.to_string()))
        });
        let reason = self.shows_reason.then_some(self.reason);
        let reason = reason.map(|reason| (field::REASON, Cow::Borrowed(reason)));
        iter::once((field::CACHE_CONTROL, Cow::Borrowed(NO_STORE)))
            .chain(challenges)
            .chain(retry_after)
            .chain(reason)
    }
}

/// Who sent a request.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identity {
    /// The credential.
    pub credential: CredentialId,
    /// The credential as it is written, as in `acme_v1_…`; for a legacy credential its `uuid`.
    pub key_id: String,
    /// `user:alice`, `service:deploy-bot`, or `subject:` and the subject of a legacy credential;
    /// empty if it is not known.
    pub owner: String,
    /// The team of the namespace.
    pub team: TeamId,
    /// The namespace that the request may use.
    pub namespace: NamespaceId,
    /// The scopes of the key as a list (RFC 6749, section 3.3); `*` for all.
    pub scopes: Cow<'static, str>,
    /// When the credential expires.
    pub expires_at: Option<Timestamp>,
}

impl Identity {
    pub(crate) fn of(principal: &Principal<'_>, format: &KeyFormat) -> Self {
        let principal = principal.to_owned();
        let owner = match (&principal.owner, &principal.legacy_subject) {
            (Some(Owner::User(user)), _) => ["user:", user.as_str()].concat(),
            (Some(Owner::Service(service)), _) => ["service:", service.as_str()].concat(),
            (None, Some(subject)) => ["subject:", subject.as_str()].concat(),
            (None, None) => String::new(),
        };
        Self {
            credential: principal.credential,
            key_id: format.credential_id(principal.credential),
            owner,
            team: principal.tenant.team,
            namespace: principal.tenant.namespace,
            scopes: scopes(&principal.scopes),
            expires_at: principal.expires_at,
        }
    }

    fn fields(&self) -> impl Iterator<Item = (&'static str, Cow<'_, str>)> {
        let expires = match self.expires_at {
            Some(at) => Cow::Owned(at.to_string()),
            None => Cow::Borrowed(""),
        };
        [
            (field::KEY_ID, Cow::Borrowed(&*self.key_id)),
            (field::OWNER, Cow::Borrowed(&*self.owner)),
            (field::TEAM, Cow::Borrowed(self.team.as_str())),
            (field::NAMESPACE, Cow::Borrowed(self.namespace.as_str())),
            (field::SCOPES, Cow::Borrowed(&*self.scopes)),
            (field::EXPIRES, expires),
        ]
        .into_iter()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("key_id", &self.key_id)
            .field("owner", &self.owner)
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

fn scopes(scopes: &Scopes) -> Cow<'static, str> {
    match scopes {
        Scopes::Only(scopes) => {
            let names: Vec<&str> = scopes.iter().map(Scope::as_str).collect();
            Cow::Owned(names.join(" "))
        }
        _ => Cow::Borrowed("*"),
    }
}

const NO_STORE: &str = "no-store";
const CREDENTIAL: &str = "Authorization";

/// The names of the fields of questions and answers, in lower case.
pub mod field {
    /// The key's public identifier.
    pub const KEY_ID: &str = "x-keyfob-key-id";
    /// The owner of the key.
    pub const OWNER: &str = "x-keyfob-owner";
    /// The team of the namespace.
    pub const TEAM: &str = "x-keyfob-team";
    /// The namespace that the request may use.
    pub const NAMESPACE: &str = "x-keyfob-namespace";
    /// The scopes of the key.
    pub const SCOPES: &str = "x-keyfob-scopes";
    /// When the credential expires, in RFC 3339; empty if it does not.
    pub const EXPIRES: &str = "x-keyfob-expires";
    /// The signed identity; empty if identities are not signed.
    pub const TOKEN: &str = "x-keyfob-identity";

    /// The fields that say who sent a request. A gateway sets every one of them from the answer, and
    /// removes them from what the client sent.
    pub const IDENTITY: [&str; 7] = [KEY_ID, OWNER, TEAM, NAMESPACE, SCOPES, EXPIRES, TOKEN];

    /// Why a request was refused, for the log of the gateway.
    pub const REASON: &str = "x-keyfob-reason";
    pub(crate) const CACHE_CONTROL: &str = "cache-control";
    pub(crate) const RETRY_AFTER: &str = "retry-after";
    pub(crate) const VARY: &str = "vary";
    pub(crate) const WWW_AUTHENTICATE: &str = "www-authenticate";
}
