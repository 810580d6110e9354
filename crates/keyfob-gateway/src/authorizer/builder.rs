//! The settings of an authorizer.

use std::{fmt, sync::Arc, time::Duration};

use keyfob::{Principal, Verifier, key::KeyFormat};
use metrics::counter;

use super::{Authorizer, Inner};
use crate::{
    Challenges, IdentitySigner, RefusalForm, Rules, Throttle, log_limit::LogLimit, metrics as names,
};

pub(super) struct Settings {
    pub(super) rules: Rules,
    pub(super) refusal: RefusalForm,
    pub(super) challenges: Arc<Challenges>,
    pub(super) shows_reason: bool,
    pub(super) max_age: u64,
    pub(super) throttle: Option<Throttle>,
    pub(super) signer: Option<IdentitySigner>,
    pub(super) pauses: Option<Box<Pauses>>,
    pub(super) on_accepted: Option<Box<OnAccepted>>,
}

type Pauses = dyn Fn() -> Option<u64> + Send + Sync;
type OnAccepted = dyn Fn(&Principal<'_>, &[u8]) + Send + Sync;

/// Builds an [`Authorizer`].
#[must_use]
pub struct AuthorizerBuilder {
    verifier: Verifier,
    format: KeyFormat,
    settings: Settings,
}

impl AuthorizerBuilder {
    /// Reads the namespace of a request by these rules. The default is [`Rules::openwhisk`].
    pub fn rules(mut self, rules: Rules) -> Self {
        self.settings.rules = rules;
        self
    }

    /// Writes the bodies of refusals in this form. The default is [`RefusalForm::Problem`].
    pub fn refusal(mut self, form: RefusalForm) -> Self {
        self.settings.refusal = form;
        self
    }

    /// Tells refused clients to authenticate in these ways. The default is Basic and Bearer, in the realm `keyfob`.
    pub fn challenges(mut self, challenges: Challenges) -> Self {
        self.settings.challenges = Arc::new(challenges);
        self
    }

    /// Writes the reason of a refusal into the field `X-Keyfob-Reason`, for the log of the gateway.
    ///
    /// # Security
    ///
    /// Only for a gateway that does not pass this field on to clients, as with the configurations of
    /// `docs/gateways.md`. Caddy and Traefik pass on all fields of a refusal unless they are told to remove one.
    pub fn show_reason(mut self, shows: bool) -> Self {
        self.settings.shows_reason = shows;
        self
    }

    /// Lets a gateway use the answer to an accepted request again for this long, in whole seconds, and
    /// never beyond the expiry of the key or of the signed identity, nor for longer than the verifier's bound on
    /// staleness allows for what is known now. The default is zero: every request is asked about.
    ///
    /// # Security
    ///
    /// A key works for this much longer after its revocation, and a second more, since caches count in whole
    /// seconds. The cache must keep an answer for each credential, method, host and target.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.settings.max_age = max_age.as_secs();
        self
    }

    /// Answers 429 to refused attempts beyond a limit. The default has no limit.
    pub fn throttle(mut self, throttle: impl Into<Option<Throttle>>) -> Self {
        self.settings.throttle = throttle.into();
        self
    }

    /// Signs who sent a request, in the field `X-Keyfob-Identity`. The default does not.
    pub fn signer(mut self, signer: impl Into<Option<IdentitySigner>>) -> Self {
        self.settings.signer = signer.into();
        self
    }

    /// Answers 503 after a pause of the process, until what was revoked meanwhile is known. The function returns a
    /// number that changes with each pause, or none if calls cannot be decided now: `Pauses::current` of
    /// `keyfob-replica`. It must not wait.
    pub fn pauses(mut self, current: impl Fn() -> Option<u64> + Send + Sync + 'static) -> Self {
        self.settings.pauses = Some(Box::new(current));
        self
    }

    /// Calls this with each accepted request and the value of its `Authorization` field. It must not
    /// wait.
    pub fn on_accepted(
        mut self,
        told: impl Fn(&Principal<'_>, &[u8]) + Send + Sync + 'static,
    ) -> Self {
        self.settings.on_accepted = Some(Box::new(told));
        self
    }

    /// The authorizer.
    pub fn build(self) -> Authorizer {
        Authorizer(Arc::new(Inner {
            verifier: self.verifier,
            format: self.format,
            settings: self.settings,
            accepted: counter!(names::QUESTIONS, "result" => "accepted", "reason" => "valid"),
            refusals_logged: LogLimit::new(),
            faults_logged: LogLimit::new(),
        }))
    }
}

impl Authorizer {
    /// A builder with the defaults.
    pub fn builder(verifier: Verifier, format: KeyFormat) -> AuthorizerBuilder {
        let challenges = match Challenges::of_realm("keyfob") {
            Ok(challenges) => Arc::new(challenges),
            Err(_) => unreachable!("printable ASCII"),
        };
        AuthorizerBuilder {
            verifier,
            format,
            settings: Settings {
                rules: Rules::openwhisk(),
                refusal: RefusalForm::default(),
                challenges,
                shows_reason: false,
                max_age: 0,
                throttle: None,
                signer: None,
                pauses: None,
                on_accepted: None,
            },
        }
    }
}

impl fmt::Debug for AuthorizerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizerBuilder")
            .field("rules", &self.settings.rules)
            .finish_non_exhaustive()
    }
}
