//! `biscuit-auth`: facts under a chain of signatures, judged by Datalog.

use std::time::{Duration, SystemTime};

use biscuit_auth::{
    AuthorizerLimits, Biscuit, KeyPair, PublicKey,
    builder::{AuthorizerBuilder, Rule, Term, date, fact, string},
};

use crate::rival::{By, Facts, Grant, Owner, Rival};

pub(crate) struct Signed {
    root: KeyPair,
    public: PublicKey,
    /// With the policy, parsed once.
    authorizer: AuthorizerBuilder,
    owner: Rule,
}

impl Signed {
    pub(crate) fn new() -> Self {
        let root = KeyPair::new();
        // The default is one millisecond, after which a valid token is refused: too little for
        // a busy machine.
        let limits = AuthorizerLimits {
            max_time: Duration::from_secs(1),
            ..AuthorizerLimits::default()
        };
        let authorizer = AuthorizerBuilder::new()
            .policy("allow if namespace($namespace), wanted($namespace)")
            .expect("a policy")
            .set_limits(limits);
        Self {
            public: root.public(),
            root,
            authorizer,
            owner: "owner($owner) <- owner($owner)".try_into().expect("a rule"),
        }
    }
}

impl Rival for Signed {
    fn facts(&self) -> Facts {
        Facts {
            what: "`biscuit-auth`",
            package: "biscuit-auth",
            revocation: By::Nobody,
            expiry: By::Crate,
            namespace: By::Crate,
            constant_time: "not needed",
            lacks: "revoke a token before it expires without a list that is read on every call; \
                    accept only one text per token",
        }
    }

    /// The padding may be left out, and so may the number of the next key's algorithm, which is
    /// then the default. What was signed stays as it is.
    fn has_one_text(&self) -> bool {
        false
    }

    fn issue(&mut self, grant: &Grant) -> String {
        let end = Duration::from_secs(grant.expires_at.cast_unsigned());
        let token = Biscuit::builder()
            .fact(fact("owner", &[string(&grant.owner)]))
            .and_then(|token| token.fact(fact("namespace", &[string(&grant.namespace)])))
            .and_then(|token| {
                let end = date(&(SystemTime::UNIX_EPOCH + end));
                token.check(format!("check if time($now), $now < {end}").as_str())
            })
            .and_then(|token| token.build(&self.root))
            .and_then(|token| token.to_base64());
        token.expect("a token")
    }

    fn verify(&self, credential: &str, namespace: &str, now: i64) -> Option<Owner<'_>> {
        let token = Biscuit::from_base64(credential, self.public).ok()?;
        let authorizer = self.authorizer.clone();
        let mut authorizer = authorizer
            .fact(fact("time", &[Term::Date(now.cast_unsigned())]))
            .ok()?
            .fact(fact("wanted", &[string(namespace)]))
            .ok()?
            .build(&token)
            .ok()?;
        authorizer.authorize().ok()?;
        let owner = authorizer.query_exactly_one(self.owner.clone()).ok()?;
        let (owner,): (String,) = owner;
        Some(Owner::Owned(owner))
    }

    fn revoke(&mut self, _credential: &str, _now: i64) -> bool {
        false
    }
}
