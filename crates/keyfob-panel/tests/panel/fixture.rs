//! The panel over a control plane, and a browser without a screen.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, header},
};
use http_body_util::BodyExt as _;
use keyfob::{
    Context, Expiry, KeyInfo, KeyStore, Keyring, NewKey, Owner, Scopes, Tenant, Timestamp,
    key::{KeyDigest, Peppers},
    legacy::{LegacyPolicy, LegacyRecord, PresentedLegacy},
    manage::Status,
    name::{KeyName, NamespaceId, Scope, TeamId, UserId},
    store::Revision,
};
use keyfob_api::{ControlPlane, Limits, Quota, Right, control_namespace};
use keyfob_panel::Panel;
use tower::ServiceExt as _;

/// 2025-12-19T10:30:00Z
pub(crate) const NOW: i64 = 1_766_140_200;
pub(crate) const DAY: i64 = 86_400;

/// A control plane with its panel.
pub(crate) struct Fixture {
    pub(crate) router: Router,
    pub(crate) keyring: Arc<Keyring>,
    clock: Arc<AtomicI64>,
}

impl Fixture {
    pub(crate) async fn over(store: impl KeyStore + 'static) -> Self {
        let unlimited = Quota::new(NonZeroU32::MAX, Duration::from_secs(1));
        Self::with_quota(store, unlimited).await
    }

    /// With this quota for each caller.
    pub(crate) async fn with_quota(store: impl KeyStore + 'static, caller: Quota) -> Self {
        // The index is as old as the clock says, which stands still.
        let keyring = Keyring::builder(store, "dof".parse().expect("a prefix"));
        let keyring = keyring.open(Timestamp::from_unix(NOW)).await;
        let keyring = Arc::new(keyring.expect("the store can be read"));
        let clock = Arc::new(AtomicI64::new(NOW));
        let hand = Arc::clone(&clock);
        let time = move || Timestamp::from_unix(hand.load(Ordering::SeqCst));
        let api = ControlPlane::new(Arc::clone(&keyring))
            .with_limits(Limits {
                caller,
                ..Limits::default()
            })
            .with_clock(time.clone())
            .into_router();
        let panel = Panel::new(api.clone()).with_clock(time).into_router();
        Self {
            router: panel.merge(api),
            keyring,
            clock,
        }
    }

    /// Sets the clock.
    pub(crate) fn set(&self, unix: i64) {
        self.clock.store(unix, Ordering::SeqCst);
    }

    pub(crate) fn context(&self) -> Context {
        Context::system(Timestamp::from_unix(self.clock.load(Ordering::SeqCst)))
    }

    /// Creates a control key with one right.
    pub(crate) async fn control_key(&self, team: &str, owner: &str, right: Right) -> String {
        let team = TeamId::new(team).expect("a name");
        let namespace = control_namespace(&team).expect("a name");
        let scopes = Scopes::only([Scope::new(right.as_str()).expect("a scope")]);
        let name = KeyName::new(&format!("panel of {owner}")).expect("a name");
        let owner: Owner = owner.parse().expect("an owner");
        let new = NewKey::new(Tenant::new(team, namespace), owner, name)
            .with_scopes(scopes.expect("few scopes"));
        let made = self.keyring.create(&self.context(), new).await;
        made.expect("the key is created")
            .into_parts()
            .0
            .expose()
            .to_owned()
    }

    pub(crate) async fn key(&self, namespace: &str, owner: &str, name: &str) -> KeyInfo {
        self.secret(namespace, owner, name).await.1
    }

    /// Creates a key of the team `acme`; returns its secret too.
    pub(crate) async fn secret(
        &self,
        namespace: &str,
        owner: &str,
        name: &str,
    ) -> (String, KeyInfo) {
        let tenant = tenant(namespace);
        let owner: Owner = owner.parse().expect("an owner");
        let name = KeyName::new(name).expect("a name");
        let end = Timestamp::from_unix(NOW + 90 * 86_400);
        let new = NewKey::new(tenant, owner, name).with_expiry(Expiry::At(end));
        let made = self.keyring.create(&self.context(), new).await;
        let (secret, info) = made.expect("the key is created").into_parts();
        (secret.expose().to_owned(), info)
    }

    /// Imports a shared credential of the namespace `orders`.
    pub(crate) async fn import(&self) {
        self.shared_credential("orders", 1).await;
    }

    /// The policy for shared credentials of the namespace `orders`.
    pub(crate) async fn legacy(&self) -> LegacyPolicy {
        let orders = tenant("orders");
        let policy = self.keyring.legacy_policy(Some(&orders)).await;
        policy.expect("the policy")
    }

    pub(crate) async fn set_legacy(&self, policy: LegacyPolicy) {
        let (orders, context) = (tenant("orders"), self.context());
        let set = self
            .keyring
            .set_legacy_policy(&context, Some(&orders), Some(policy));
        set.await.expect("the policy is set");
    }

    /// What identifies a key in forms.
    pub(crate) fn field(&self, info: &KeyInfo) -> String {
        let id = self.keyring.format().key_id(info.id);
        format!("{}/{id}", info.tenant.namespace)
    }

    pub(crate) async fn is_revoked(&self, info: &KeyInfo) -> bool {
        let info = self.keyring.get(&info.tenant, info.id).await;
        let info = info.expect("the key exists");
        matches!(info.status, Status::Revoked(_))
    }

    /// Imports a shared credential of a namespace.
    pub(crate) async fn shared_credential(&self, namespace: &str, n: usize) {
        let text = format!("23bc46b1-71f6-4ed5-8c54-{n:012}:{}", "k".repeat(64));
        let presented = PresentedLegacy::parse(text.as_bytes()).expect("the form of one");
        let context = self.context();
        let record = LegacyRecord {
            id: presented.id(),
            tenant: tenant(namespace),
            subject: UserId::new(namespace).expect("a name"),
            digest: KeyDigest::of_legacy(&presented, &Peppers::none()),
            blocked: false,
            imported_at: context.now,
            imported_by: context.actor.clone(),
            revoked: None,
            created_revision: Revision::ZERO,
            revision: Revision::ZERO,
        };
        let imported = self.keyring.import_legacy(&context, record).await;
        imported.expect("it is imported");
    }

    /// Signs in, and returns the cookie.
    pub(crate) async fn sign_in(&self, credential: &str) -> String {
        let form = format!("credential={}", credential.replace(':', "%3A"));
        let answer = self.post("/session", "", &form).await;
        assert_eq!(answer.status, 303, "{}", answer.text);
        let cookie = answer.headers[header::SET_COOKIE].to_str().expect("text");
        cookie.split(';').next().unwrap_or_default().to_owned()
    }

    pub(crate) async fn get(&self, path: &str, cookie: &str) -> Answer {
        let request = Request::get(path)
            .header(header::HOST, HOST)
            .header(header::COOKIE, cookie)
            .body(Body::empty());
        self.send(request.expect("a request")).await
    }

    pub(crate) async fn post(&self, path: &str, cookie: &str, form: &str) -> Answer {
        let request = Request::post(path)
            .header(header::HOST, HOST)
            .header(header::ORIGIN, format!("https://{HOST}"))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::COOKIE, cookie)
            .body(Body::from(form.to_owned()));
        self.send(request.expect("a request")).await
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let Ok(response) = self.router.clone().oneshot(request).await;
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.expect("a whole body").to_bytes();
        Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            text: String::from_utf8_lossy(&bytes).into_owned(),
        }
    }
}

/// A namespace of the team `acme`.
/// Shared credentials work for this number of days.
pub(crate) fn until(days: i64) -> LegacyPolicy {
    LegacyPolicy::until(Timestamp::from_unix(NOW + days * DAY))
}

pub(crate) fn tenant(namespace: &str) -> Tenant {
    Tenant::new(
        TeamId::new("acme").expect("a name"),
        NamespaceId::new(namespace).expect("a name"),
    )
}

/// Fields as the body of a form.
pub(crate) fn form(fields: &[(&str, &str)]) -> String {
    serde_urlencoded::to_string(fields).expect("text")
}

pub(crate) const HOST: &str = "keys.example";

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().expect("ASCII"))
    }

    /// The inputs that a browser sends with the forms of this action on the page.
    pub(crate) fn inputs(&self, action: &str) -> Vec<(String, String)> {
        let start = format!("action=\"{action}\"");
        let forms = self.text.split("<form").skip(1);
        let forms = forms.filter_map(|form| form.split("</form").next());
        let forms = forms.filter(|form| form.contains(&start));
        let inputs = forms.flat_map(|form| form.split("<input").skip(1));
        let tags = inputs.filter_map(|input| input.split('>').next());
        let sent = tags.filter(|tag| !tag.contains("checkbox") || tag.contains(" checked"));
        let fields = sent.filter_map(|tag| {
            let name = attribute(tag, "name")?;
            Some((name, attribute(tag, "value").unwrap_or_default()))
        });
        fields.collect()
    }
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
    let value = rest.split('"').next()?;
    let value = value.replace("&#34;", "\"").replace("&#39;", "'");
    Some(
        value
            .replace("&#60;", "<")
            .replace("&#62;", ">")
            .replace("&#38;", "&"),
    )
}

/// The body of a form with one field changed.
pub(crate) fn changed(mut fields: Vec<(String, String)>, name: &str, value: &str) -> String {
    for (field, old) in &mut fields {
        if field == name {
            value.clone_into(old);
        }
    }
    serde_urlencoded::to_string(fields).expect("text")
}
