//! Creating a key: a form, its summary, the secret.

use askama::Template;
use axum::http::{Method, StatusCode};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::{Map, Value, json};

use crate::{
    client::{query, segment},
    form::{Fault, Fields, Form, Query},
    screens::{
        keys,
        secret::{Secret, Why},
    },
    shell::{Section, Shell},
    time::{DAY, Html, Moment, count, exactly, ttl_seconds, ttl_words},
    visit::{Answer, Visit, page, page_with},
    wire::{KeyWithSecret, Keys, Namespace, OneKey, Policy, ShownPolicy},
};

/// What was typed.
#[derive(Clone, Debug, Default)]
struct Draft {
    name: String,
    namespace: String,
    /// `me`, `user` or `service`.
    kind: String,
    owner_name: String,
    life: String,
    until: String,
    scopes: String,
    rights: Vec<String>,
    labels: String,
}

impl Draft {
    fn of(visit: &Visit, fields: &Fields, namespaces: &[Namespace]) -> Self {
        let mut draft = Self {
            name: fields.owned("name"),
            namespace: fields.owned("namespace"),
            kind: fields.owned("owner_kind"),
            owner_name: fields.owned("owner_name"),
            life: fields.owned("life"),
            until: fields.owned("until"),
            scopes: fields.owned("scopes"),
            rights: fields.all("right"),
            labels: fields.owned("labels"),
        };
        // A template's address may name the owner as the control plane does.
        draft.set_owner(fields.get("owner"));
        let by_label = |namespace: &&Namespace| namespace.label == draft.namespace;
        let known = namespaces
            .iter()
            .any(|own| own.namespace == draft.namespace);
        if !known && let Some(found) = namespaces.iter().find(by_label) {
            draft.namespace = found.namespace.clone();
        }
        if draft.namespace.is_empty() {
            let first = namespaces.iter().find(|namespace| !namespace.is_control());
            draft.namespace = first
                .map(|first| first.namespace.clone())
                .unwrap_or_default();
        }
        if draft.kind.is_empty() {
            "me".clone_into(&mut draft.kind);
        }
        // In another team, an operator's name is somebody else's.
        if draft.kind == "me" && !visit.is_home() {
            "user".clone_into(&mut draft.kind);
        }
        draft
    }

    /// Takes an owner as the control plane names it; keeps what there is if it is none.
    fn set_owner(&mut self, owner: &str) {
        if let Some((kind, name)) = owner.split_once(':') {
            kind.clone_into(&mut self.kind);
            name.clone_into(&mut self.owner_name);
        }
    }

    fn is_control(&self) -> bool {
        self.namespace.starts_with("control:")
    }

    fn owner(&self, visit: &Visit) -> String {
        match self.kind.as_str() {
            "me" => visit.owner.clone(),
            kind => format!("{kind}:{}", self.owner_name),
        }
    }

    fn scope_list(&self) -> Vec<String> {
        if self.is_control() {
            return self.rights.clone();
        }
        let words = self.scopes.split([',', ' ', '\n', '\t', '\r']);
        let words = words.filter(|word| !word.is_empty());
        words.map(ToOwned::to_owned).collect()
    }

    /// The labels, or the one that is none.
    fn label_list(&self) -> Result<Vec<(String, String)>, Fault> {
        let pairs = self.labels.split([',', '\n']).map(str::trim);
        pairs
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let pair = pair.split_once(':').ok_or_else(|| {
                    Fault::new(
                        "labels",
                        "Write each label as NAME:VALUE, with commas between them.",
                    )
                })?;
                Ok((pair.0.trim().to_owned(), pair.1.trim().to_owned()))
            })
            .collect()
    }

    /// What is wrong with it, as far as the form can tell.
    fn check(&self) -> Result<(), Fault> {
        if self.name.is_empty() {
            return Err(Fault::new(
                "name",
                "Enter a name: it is what people see at 2 a.m.",
            ));
        }
        if self.namespace.is_empty() {
            return Err(Fault::new("namespace", "Choose a namespace."));
        }
        if self.kind != "me" && self.owner_name.is_empty() {
            return Err(Fault::new(
                "owner_name",
                "Enter the name of the person or service.",
            ));
        }
        if self.life.is_empty() {
            return Err(Fault::new("life", "Choose how long the key works."));
        }
        if self.life == "until" && self.until.is_empty() {
            return Err(Fault::new("until", "Enter a date and a time."));
        }
        if self.is_control() && self.rights.is_empty() {
            return Err(Fault::new("right", "Choose at least one right."));
        }
        self.label_list().map(drop)
    }

    /// The body of the call.
    fn body(&self, visit: &Visit) -> Result<Value, Fault> {
        let mut body = Map::new();
        body.insert("name".to_owned(), json!(self.name));
        match self.life.as_str() {
            "never" => {}
            "until" => {
                body.insert("expires_at".to_owned(), json!(utc(&self.until)));
            }
            life => {
                body.insert("expires_in".to_owned(), json!(life));
            }
        }
        if self.kind != "me" {
            body.insert("owner".to_owned(), json!(self.owner(visit)));
        }
        let scopes = self.scope_list();
        if !scopes.is_empty() {
            body.insert("scopes".to_owned(), json!(scopes));
        }
        let labels = self.label_list()?;
        if !labels.is_empty() {
            let labels: Map<_, _> = labels.into_iter().map(|(n, v)| (n, json!(v))).collect();
            body.insert("labels".to_owned(), Value::Object(labels));
        }
        Ok(Value::Object(body))
    }

    /// The address of the form that is filled in like this.
    fn template(&self) -> String {
        let mut fields = vec![
            ("name", self.name.as_str()),
            ("namespace", &self.namespace),
            (
                "owner_kind",
                if self.kind == "me" { "" } else { &self.kind },
            ),
            ("owner_name", &self.owner_name),
            ("life", &self.life),
            ("until", &self.until),
            ("scopes", &self.scopes),
            ("labels", &self.labels),
        ];
        fields.extend(self.rights.iter().map(|right| ("right", right.as_str())));
        format!("/keys/new{}", query(fields))
    }
}

/// A value of an input of the type `datetime-local`, which is in UTC.
pub(crate) fn utc(text: &str) -> String {
    match text.len() {
        16 => format!("{text}:00Z"),
        19 => format!("{text}Z"),
        _ => text.to_owned(),
    }
}

/// A choice of how long a key works.
pub(crate) struct Preset {
    pub(crate) value: &'static str,
    pub(crate) label: &'static str,
    /// Why the policy does not allow it.
    pub(crate) refused: Option<String>,
    pub(crate) ends: Option<Html>,
}

pub(crate) fn presets(policy: &Policy, now: Moment) -> Vec<Preset> {
    let longest = policy.max_expires_in.as_deref();
    let most = longest.and_then(ttl_seconds);
    let least = ttl_seconds(&policy.min_expires_in).unwrap_or_default();
    PRESETS
        .iter()
        .map(|(value, label)| {
            let seconds = ttl_seconds(value);
            let refused = match (seconds, most) {
                (None, _) if policy.expiry_required => Some("a key must expire".to_owned()),
                (Some(seconds), Some(most)) if seconds > most => {
                    longest.map(|longest| format!("longer than {}", ttl_words(longest)))
                }
                (Some(seconds), _) if seconds < least => Some(format!(
                    "shorter than {}",
                    ttl_words(&policy.min_expires_in)
                )),
                _ => None,
            };
            let ends = seconds.and_then(|seconds| i64::try_from(seconds).ok());
            Preset {
                value,
                label,
                refused,
                ends: ends.map(|seconds| now.plus(seconds).on()),
            }
        })
        .collect()
}

const PRESETS: [(&str, &str); 5] = [
    ("30d", "30 days"),
    ("60d", "60 days"),
    ("90d", "90 days"),
    ("365d", "1 year"),
    ("never", "Never"),
];

/// What a policy allows, in sentences.
pub(crate) fn rules(policy: &Policy) -> Vec<String> {
    let mut rules = Vec::new();
    match &policy.max_expires_in {
        Some(longest) => rules.push(format!(
            "A key works for {} at the longest{}.",
            ttl_words(longest),
            if policy.expiry_required {
                ", and must have an expiry"
            } else {
                ", also one without an expiry"
            }
        )),
        None if policy.expiry_required => rules.push("A key must have an expiry.".to_owned()),
        None => rules.push("A key may work without an expiry.".to_owned()),
    }
    if let Some(most) = policy.keys_per_owner {
        let keys = count(u64::from(most), "key");
        rules.push(format!("One owner may have {keys} here at a time."));
    }
    if policy.unique_names {
        rules.push("An owner's keys have different names.".to_owned());
    }
    rules.push(if policy.max_grace_seconds == 0 {
        "When a secret is rotated, the old one stops at once.".to_owned()
    } else {
        format!(
            "When a secret is rotated, the old one may go on working for {} at most.",
            exactly(policy.max_grace_seconds)
        )
    });
    rules
}

/// A right of a control key, in words.
struct RightChoice {
    name: &'static str,
    words: &'static str,
}

const RIGHTS: [RightChoice; 5] = [
    RightChoice {
        name: "function:admin",
        words: "Manage their own keys, create and delete namespaces",
    },
    RightChoice {
        name: "function:read",
        words: "See namespaces and their own keys",
    },
    RightChoice {
        name: "team:read",
        words: "See everything of the team",
    },
    RightChoice {
        name: "team:admin",
        words: "Manage everything of the team",
    },
    RightChoice {
        name: "operator",
        words: "Operate: everything, in every team",
    },
];

#[derive(Template)]
#[template(path = "create.html")]
struct Screen {
    shell: Shell,
    draft: Draft,
    fault: Fault,
    namespaces: Vec<Namespace>,
    presets: Vec<Preset>,
    rules: Vec<String>,
    rights: Vec<&'static RightChoice>,
    for_others: bool,
    can_create_namespaces: bool,
    /// The user, who is nobody in another team.
    me: Option<String>,
    soonest: String,
}

impl Screen {
    fn has_right(&self, name: &str) -> bool {
        self.draft.rights.iter().any(|right| right == name)
    }
}

#[derive(Template)]
#[template(path = "review.html")]
struct Review {
    shell: Shell,
    draft: Draft,
    /// Who will own it.
    owner: String,
    namespace: String,
    scopes: Vec<String>,
    labels: Vec<(String, String)>,
    ends: Html,
    template: String,
    once: String,
}

/// The namespaces in which the user may create keys. That of the control keys exists only once the first one does,
/// which adds the first person.
async fn namespaces(
    visit: &Visit,
    fields: &Fields,
) -> Result<Vec<Namespace>, crate::client::Refused> {
    let mut all = keys::namespaces(visit, fields.get("namespace")).await?;
    if visit.can.manage_team && !all.is_empty() && !all.iter().any(Namespace::is_control) {
        let name = format!("control:{}", visit.team);
        all.push(Namespace {
            label: name.clone(),
            namespace: name,
            created_at: visit.now,
            removed: false,
        });
    }
    Ok(all)
}

pub(crate) async fn show(visit: Visit, Query(fields): Query) -> Answer {
    let namespaces = namespaces(&visit, &fields).await?;
    let mut draft = Draft::of(&visit, &fields, &namespaces);
    let asked = ["owner", "owner_kind", "owner_name"];
    let asked = asked.iter().any(|name| fields.has(name));
    if !asked && !visit.is_home() && !has_namesake(&visit).await? {
        // An operator who begins a team names themselves in it.
        draft.set_owner(&visit.owner);
    }
    let screen = screen(&visit, draft, namespaces, Fault::default()).await?;
    Ok(page(&screen))
}

/// Whether somebody in the team has keys under the user's name.
async fn has_namesake(visit: &Visit) -> Result<bool, crate::client::Refused> {
    let owner = visit.owner.as_str();
    let rest = query([("owner", owner), ("status", "all"), ("limit", "1")]);
    let path = visit.team_path(&format!("/keys{rest}"));
    let keys: Keys = visit.api.get(&path).await?;
    Ok(!keys.access_keys.is_empty())
}

async fn screen(
    visit: &Visit,
    mut draft: Draft,
    mut namespaces: Vec<Namespace>,
    fault: Fault,
) -> Result<Screen, crate::client::Refused> {
    if !visit.can.manage_team {
        namespaces.retain(|namespace| !namespace.is_control());
    }
    let policy = if draft.namespace.is_empty() {
        None
    } else {
        let path = format!(
            "/v2/functions/namespaces/{}/policy",
            segment(&draft.namespace)
        );
        match visit.api.get::<ShownPolicy>(&path).await {
            Ok(shown) => Some(shown.policy),
            // An address with a namespace that is not there any more.
            Err(refused) if refused.status == StatusCode::NOT_FOUND => None,
            Err(refused) => return Err(refused),
        }
    };
    let presets = policy.as_ref().map(|policy| presets(policy, visit.now));
    let presets = presets.unwrap_or_default();
    if draft.life.is_empty() {
        let allowed = |value: &&str| {
            presets
                .iter()
                .any(|preset| preset.value == *value && preset.refused.is_none())
        };
        let first = ["90d", "60d", "30d"].into_iter().find(allowed);
        first.unwrap_or_default().clone_into(&mut draft.life);
    }
    let held = |right: &&RightChoice| match right.name {
        "operator" => visit.can.operate,
        _ => visit.can.manage_team,
    };
    Ok(Screen {
        shell: Shell::of(visit, "Create a key", Section::Create),
        fault,
        namespaces,
        rules: policy.as_ref().map(rules).unwrap_or_default(),
        presets,
        rights: RIGHTS.iter().filter(held).collect(),
        for_others: visit.can.manage_team,
        can_create_namespaces: visit.can.create_namespaces,
        me: visit.is_home().then(|| visit.owner.clone()),
        soonest: visit.now.plus(3_600).input(),
        draft,
    })
}

pub(crate) async fn submit(visit: Visit, Form(fields): Form) -> Answer {
    let namespaces = namespaces(&visit, &fields).await?;
    let draft = Draft::of(&visit, &fields, &namespaces);
    let checked = draft.check();
    match fields.get("step") {
        "create" if checked.is_ok() => create(&visit, draft, namespaces, fields.get("once")).await,
        "change" => Ok(page(
            &screen(&visit, draft, namespaces, Fault::default()).await?,
        )),
        _ => match checked {
            Ok(()) => Ok(page(&review(&visit, draft, &namespaces))),
            Err(fault) => {
                refuse(
                    &visit,
                    draft,
                    namespaces,
                    fault,
                    StatusCode::UNPROCESSABLE_ENTITY,
                )
                .await
            }
        },
    }
}

fn review(visit: &Visit, draft: Draft, namespaces: &[Namespace]) -> Review {
    let known = namespaces
        .iter()
        .find(|known| known.namespace == draft.namespace);
    let seconds = ttl_seconds(&draft.life).and_then(|seconds| i64::try_from(seconds).ok());
    let ends = match (seconds, draft.life.as_str()) {
        (Some(seconds), _) => {
            let days = seconds.unsigned_abs() / DAY;
            let on = visit.now.plus(seconds).on();
            Html(format!("{on} (after {})", count(days, "day")))
        }
        (None, "until") => match utc(&draft.until).parse() {
            Ok(at) => Moment(at).at(),
            Err(_) => Html("at the time that you entered".to_owned()),
        },
        _ => Html("Never".to_owned()),
    };
    let mut bytes = [0; 18];
    let once = SystemRandom::new().fill(&mut bytes);
    Review {
        shell: Shell::of(visit, "Check the new key", Section::Create),
        owner: draft.owner(visit),
        namespace: known.map_or_else(|| draft.namespace.clone(), Namespace::title),
        scopes: draft.scope_list(),
        labels: draft.label_list().unwrap_or_default(),
        ends,
        template: draft.template(),
        once: once
            .map(|()| URL_SAFE_NO_PAD.encode(bytes))
            .unwrap_or_default(),
        draft,
    }
}

async fn create(visit: &Visit, draft: Draft, namespaces: Vec<Namespace>, once: &str) -> Answer {
    let body = match draft.body(visit) {
        Ok(body) => body,
        Err(fault) => {
            return refuse(
                visit,
                draft,
                namespaces,
                fault,
                StatusCode::UNPROCESSABLE_ENTITY,
            )
            .await;
        }
    };
    let path = format!(
        "/v2/functions/namespaces/{}/keys",
        segment(&draft.namespace)
    );
    let repeat = [("idempotency-key", once)];
    let fields = if once.is_empty() {
        &[][..]
    } else {
        &repeat[..]
    };
    let created = visit
        .api
        .send_with::<OneKey<KeyWithSecret>>(Method::POST, &path, &body, fields)
        .await;
    match created {
        Ok(OneKey { access_key }) => Ok(Secret::page(visit, access_key, Why::Created)),
        Err(refused) if shown_at_the_form(refused.status) => {
            let fault = Fault::of(&refused.message, &FIELDS);
            refuse(visit, draft, namespaces, fault, refused.status).await
        }
        Err(refused) => Err(refused.into()),
    }
}

/// Whether a refusal is about what was typed.
pub(crate) fn shown_at_the_form(status: StatusCode) -> bool {
    matches!(status.as_u16(), 400 | 403 | 404 | 409 | 412 | 422)
}

/// The fields of the control plane, and those of the form.
const FIELDS: [(&str, &str); 12] = [
    ("expires_in", "life"),
    ("expires_at", "until"),
    ("scopes", "scopes"),
    ("scope", "scopes"),
    ("labels", "labels"),
    ("label", "labels"),
    ("owner", "owner_name"),
    ("user", "owner_name"),
    ("service", "owner_name"),
    ("key name", "name"),
    ("key", "name"),
    ("name", "name"),
];

async fn refuse(
    visit: &Visit,
    draft: Draft,
    namespaces: Vec<Namespace>,
    fault: Fault,
    status: StatusCode,
) -> Answer {
    let screen = screen(visit, draft, namespaces, fault).await?;
    Ok(page_with(status, &screen))
}
