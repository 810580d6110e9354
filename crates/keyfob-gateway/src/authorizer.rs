//! The decision.

mod builder;

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use keyfob::{
    Access, Denied, DenyReason, Principal, Timestamp, Verifier,
    authorization::{self, HeaderBuffer},
    key::{CredentialId, KeyFormat},
    name::{NamespaceId, RequestId, Scope},
};
use metrics::{Counter, counter};

use crate::{
    Answer, Identity, IdentitySigner, Question,
    answer::{Accepted, Refused},
    log_limit::LogLimit,
    metrics as names,
    question::Asked,
    rules::Ruling,
    target::RequestTarget,
};
pub use builder::AuthorizerBuilder;
use builder::Settings;

/// Answers whether requests may pass: a decision without I/O, the same for every protocol in front of
/// it. Cheap to clone.
///
/// # Examples
///
/// ```
/// use keyfob::{Context, Keyring, MemoryStore, NewKey, block_on, now};
/// use keyfob_gateway::{Authorizer, Question};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keyring = block_on(Keyring::open(MemoryStore::new(), "acme"))?;
/// let authorizer = Authorizer::builder(keyring.verifier(), *keyring.format()).build();
///
/// let new = NewKey::for_user("team", "orders", "alice", "laptop")?;
/// let key = block_on(keyring.create(&Context::system(now()), new))?.secret;
/// let (header, target) = (key.bearer(), b"/api/v1/namespaces/orders/actions/x");
/// let fields = [header.as_bytes()];
///
/// let answer = authorizer.decide(&Question::of_request(target, &fields), now());
/// assert_eq!(answer.identity().unwrap().owner, "user:alice");
///
/// let other = b"/api/v1/namespaces/other/..%2forders/actions/x";
/// let answer = authorizer.decide(&Question::of_request(other, &fields), now());
/// assert_eq!((answer.status(), answer.reason()), (400, "ambiguous_target"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Authorizer(Arc<Inner>);

struct Inner {
    verifier: Verifier,
    format: KeyFormat,
    settings: Settings,
    accepted: Counter,
    /// Of refusals, and of what the operator has to mend: no flood of one hides the other.
    refusals_logged: LogLimit,
    faults_logged: LogLimit,
}

/// The request may not pass, for this reason.
struct Refusal {
    status: u16,
    reason: &'static str,
    /// The credential, if its secret was right.
    credential: Option<CredentialId>,
    retry_after: Option<Duration>,
    /// Whether the credential itself was refused: such attempts are limited.
    is_attempt: bool,
}

impl Refusal {
    fn new(status: u16, reason: &'static str) -> Self {
        Self {
            status,
            reason,
            credential: None,
            retry_after: (status == 503).then_some(RETRY_AFTER),
            is_attempt: false,
        }
    }

    fn of(denied: &Denied) -> Self {
        Self {
            credential: denied.credential(),
            is_attempt: denied.status() == 401 && denied.reason() != DenyReason::NoCredential,
            ..Self::new(denied.status(), denied.reason().as_str())
        }
    }
}

impl Authorizer {
    /// Decides at the time `now`, which must be read when the question has arrived.
    pub fn decide(&self, question: &Question<'_>, now: impl Into<Timestamp>) -> Answer {
        self.decide_described(question, now.into(), |question| question)
    }

    /// Decides as [`Authorizer::decide`] does. `describe` adds what only a refusal needs: the client, and what is
    /// logged.
    pub(crate) fn decide_described<'a>(
        &self,
        question: &Question<'a>,
        now: Timestamp,
        describe: impl FnOnce(Question<'a>) -> Question<'a>,
    ) -> Answer {
        match self.0.judge(question, now) {
            Ok(accepted) => {
                self.0.accepted.increment(1);
                Answer::accepted(accepted)
            }
            Err(refusal) => {
                let question = describe(*question);
                let refusal = self.0.throttled(&question, refusal, now);
                self.0.refuse(&question, &refusal, now)
            }
        }
    }

    /// Whether requests can be decided; if not, there was a pause of the process, and a front should wait for a
    /// moment rather than refuse.
    pub fn is_current(&self) -> bool {
        self.0.current().is_ok()
    }

    /// The public keys of signed identities, as a JSON Web Key Set; none if identities are not signed.
    pub fn jwks(&self) -> Option<String> {
        self.0.settings.signer.as_ref().map(IdentitySigner::jwks)
    }

    /// Answers a question that the gateway did not ask properly: 503, and a line in the log. The
    /// gateway must be configured otherwise.
    pub fn refuse_gateway(&self, reason: &'static str) -> Answer {
        if self.0.may_log(503, keyfob::now()) {
            tracing::error!(
                reason,
                "the gateway asks in a wrong way: its configuration must be corrected"
            );
        }
        self.0.answer(&Refusal::new(503, reason), None)
    }

    /// Answers a question of a peer that may not ask: 403.
    pub fn refuse_peer(&self, peer: &dyn fmt::Display) -> Answer {
        let reason = "untrusted_peer";
        if self.0.may_log(403, keyfob::now()) {
            tracing::warn!(
                reason,
                %peer,
                "refused: the peer may not ask; if it is a proxy of yours, add its network to `peers` of [auth] (KEYFOB_AUTH_PEERS)"
            );
        }
        self.0.answer(&Refusal::new(403, reason), None)
    }
}

impl Inner {
    fn judge(&self, question: &Question<'_>, now: Timestamp) -> Result<Accepted, Refusal> {
        let ambiguous = || Refusal::new(400, "ambiguous_target");
        if let Some(target) = question.passed_on {
            RequestTarget::parse(target).ok_or_else(ambiguous)?;
        }
        let principal = match question.asked {
            Asked::Namespace(b"_") => self.verify(question, None, &[], now),
            Asked::Namespace(name) => {
                let name = std::str::from_utf8(name).map_err(|_| invalid_namespace())?;
                self.verify(question, Some(name), &[], now)
            }
            Asked::Target(target) => {
                let target = RequestTarget::parse(target).ok_or_else(ambiguous)?;
                let rules = &self.settings.rules;
                match rules.rule(&target, question.method, question.host) {
                    Ruling::Ambiguous => return Err(ambiguous()),
                    Ruling::NoRule => return Err(Refusal::new(403, "no_rule")),
                    Ruling::Fixed(namespace, scopes) => {
                        self.verify(question, Some(namespace.as_str()), scopes, now)
                    }
                    Ruling::Namespace(namespace, scopes) => {
                        self.verify(question, namespace.as_deref(), scopes, now)
                    }
                }
            }
        }?;
        if principal.key_id().is_none() {
            counter!(names::LEGACY).increment(1);
        }
        if let (Some(told), [header, ..]) = (&self.settings.on_accepted, question.authorization) {
            told(&principal, header);
        }
        let identity = Identity::of(&principal, &self.format);
        let signer = self.settings.signer.as_ref();
        let (token, ends) = match signer.map(|signer| signer.sign(&identity, now)) {
            // It is not valid beyond the expiry of the key.
            Some((token, ends)) => (Some(token), Some(ends)),
            None => (None, identity.expires_at),
        };
        Ok(Accepted {
            max_age: self.max_age(ends, now),
            token,
            identity,
        })
    }

    /// For how long an answer may be used again, in seconds: neither beyond its end, nor for longer than what is
    /// known may be used.
    fn max_age(&self, ends: Option<Timestamp>, now: Timestamp) -> u64 {
        let fresh = self.verifier.fresh_for(now);
        let fresh = fresh.map_or(u64::MAX, |left| left.as_secs());
        let left = ends.map_or(u64::MAX, |at| at.seconds_since(now));
        // A cache counts in whole seconds, and uses an answer during the last one too.
        self.settings.max_age.min(left.min(fresh).saturating_sub(1))
    }

    /// Verifies the credential for a namespace; none is its own.
    fn verify(
        &self,
        question: &Question<'_>,
        namespace: Option<&str>,
        scopes: &[Scope],
        now: Timestamp,
    ) -> Result<Principal<'_>, Refusal> {
        if namespace.is_some_and(|name| !may_be_name(name)) {
            return Err(invalid_namespace());
        }
        let before = self.current()?;
        let access = namespace.map_or(Access::to_own_namespace(), Access::to);
        let all;
        let scopes = match (scopes, question.scopes) {
            (of_rule, []) => of_rule,
            ([], asked) => asked,
            (of_rule, asked) => {
                all = [of_rule, asked].concat();
                &all
            }
        };
        let fields = question.authorization.iter().copied();
        let access = access.requiring(scopes);
        let verified = self.verifier.verify_headers(fields, &access, now);
        let principal = verified.map_err(|denied| Refusal::of(&denied))?;
        // Nor was there a pause while this was decided.
        if self.current()? == before {
            Ok(principal)
        } else {
            Err(paused())
        }
    }

    /// A number that changes with each pause of the process.
    fn current(&self) -> Result<u64, Refusal> {
        match &self.settings.pauses {
            Some(current) => current().ok_or_else(paused),
            None => Ok(0),
        }
    }

    /// Limits attempts: a refusal becomes 429 if there were too many.
    fn throttled(&self, question: &Question<'_>, refusal: Refusal, now: Timestamp) -> Refusal {
        let (Some(throttle), true) = (&self.settings.throttle, refusal.is_attempt) else {
            return refusal;
        };
        let named = self.named_credential(question);
        match throttle.count(question.client, named, now) {
            None => refusal,
            retry_after => Refusal {
                status: 429,
                reason: "throttled",
                retry_after,
                ..refusal
            },
        }
    }

    /// The credential that a question names, whether its secret is right or not.
    fn named_credential(&self, question: &Question<'_>) -> Option<CredentialId> {
        let value = question.authorization.first()?;
        let mut buffer = HeaderBuffer::new();
        let credential = authorization::parse(&self.format, value, &mut buffer).ok()?;
        Some(credential.id())
    }

    fn refuse(&self, question: &Question<'_>, refusal: &Refusal, now: Timestamp) -> Answer {
        let request_id = request_id(question);
        // A flood of attempts is counted, but fills no log.
        let is_logged = match refusal.status {
            429 => tracing::enabled!(tracing::Level::DEBUG),
            status => self.may_log(status, now),
        };
        if is_logged {
            self.log(question, refusal, request_id.as_ref());
        }
        self.answer(refusal, request_id.as_ref().map(RequestId::as_str))
    }

    fn answer(&self, refusal: &Refusal, request_id: Option<&str>) -> Answer {
        let Refusal { status, reason, .. } = *refusal;
        counter!(names::QUESTIONS, "result" => "refused", "reason" => reason).increment(1);
        let settings = &self.settings;
        Answer::refused(Refused {
            status,
            reason,
            shows_reason: settings.shows_reason,
            challenges: (status == 401).then(|| Arc::clone(&settings.challenges)),
            retry_after: refusal.retry_after,
            body: settings.refusal.body(status, request_id),
        })
    }

    /// Whether a line about a refusal may be written: anybody who reaches the gateway causes them.
    fn may_log(&self, status: u16, now: Timestamp) -> bool {
        let limit = match status {
            503 => &self.faults_logged,
            _ => &self.refusals_logged,
        };
        let left_out = limit.allow(now);
        if let Some(left_out @ 1..) = left_out {
            tracing::warn!(
                left_out,
                "refusals that were not logged, since they were too many"
            );
        }
        left_out.is_some()
    }

    /// The line has nothing that the caller wrote, but what is a valid identifier or name. The key id is
    /// logged only if its secret was right: anybody can send another's id.
    fn log(&self, question: &Question<'_>, refusal: &Refusal, request_id: Option<&RequestId>) {
        let Refusal { status, reason, .. } = *refusal;
        let key = refusal.credential.map(|id| self.format.credential_id(id));
        let key = key.as_deref().unwrap_or("-");
        let namespace = self.namespace(question);
        let namespace = namespace.as_ref().map_or("-", NamespaceId::as_str);
        let request = request_id.map_or("-", RequestId::as_str);
        let trace = question.trace_id().unwrap_or("-");
        let client = question
            .client
            .map_or(Cow::Borrowed("-"), |client| client.to_string().into());
        let client = &*client;
        match status {
            503 => tracing::error!(
                reason,
                key,
                namespace,
                client,
                request,
                trace,
                "cannot verify"
            ),
            429 => tracing::debug!(reason, key, namespace, client, request, trace, "refused"),
            _ => tracing::info!(reason, key, namespace, client, request, trace, "refused"),
        }
    }

    /// The namespace that a question is about, if it names a valid one.
    fn namespace(&self, question: &Question<'_>) -> Option<NamespaceId> {
        match question.asked {
            Asked::Namespace(name) => NamespaceId::new(std::str::from_utf8(name).ok()?).ok(),
            Asked::Target(target) => {
                let target = RequestTarget::parse(target)?;
                let rules = &self.settings.rules;
                match rules.rule(&target, question.method, question.host) {
                    Ruling::Fixed(namespace, _) => Some(namespace.clone()),
                    Ruling::Namespace(Some(name), _) => NamespaceId::new(&name).ok(),
                    _ => None,
                }
            }
        }
    }
}

/// The identifier of a request, if it is a word that can be logged.
fn request_id(question: &Question<'_>) -> Option<RequestId> {
    let text = std::str::from_utf8(question.request_id?).ok()?;
    if text.contains([' ', '"', '\\']) {
        return None;
    }
    RequestId::new(text).ok()
}

fn paused() -> Refusal {
    Refusal::new(503, "paused")
}

fn invalid_namespace() -> Refusal {
    Refusal::new(400, "invalid_namespace")
}

/// Whether a text has the characters of a [`NamespaceId`]. Whether it has a key is the verifier's
/// question.
fn may_be_name(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text
            .bytes()
            .all(|byte| matches!(byte, b' '..=b'~') && byte != b'/')
}

impl fmt::Debug for Authorizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorizer")
            .field("rules", &self.0.settings.rules)
            .finish_non_exhaustive()
    }
}

/// When a client may ask again that could not be answered.
const RETRY_AFTER: Duration = Duration::from_secs(1);
