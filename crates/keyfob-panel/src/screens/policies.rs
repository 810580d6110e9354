//! The policies of namespaces, and what a change of one would do.

use std::collections::BTreeMap;

use askama::Template;
use axum::{
    extract::Path,
    http::{Method, StatusCode},
};
use serde_json::{Map, Value, json};

use crate::{
    client::{query, segment},
    form::{Fault, Fields, Form},
    screens::{
        create::{rules, shown_at_the_form},
        keys::namespaces,
    },
    shell::{Notice, Section, Shell},
    time::{Moment, count, duration, duration_seconds, ttl_seconds},
    visit::{Answer, Failure, Visit, page, page_with},
    wire::{Events, Key, Keys, Namespace, Policy, ShownPolicy},
};

#[derive(Template)]
#[template(path = "policies.html")]
struct Screen {
    shell: Shell,
    namespaces: Vec<Namespace>,
    operates: bool,
    manages: bool,
}

pub(crate) async fn show(visit: Visit) -> Answer {
    Ok(page(&Screen {
        namespaces: namespaces(&visit, "").await?,
        shell: Shell::of(&visit, "Policies", Section::Policies),
        operates: visit.can.operate,
        manages: visit.can.manage_team,
    }))
}

/// The default policy, in the place of a namespace.
const DEFAULT: &str = "default";

fn path_of(namespace: &str) -> String {
    if namespace == DEFAULT {
        "/v1/policy".to_owned()
    } else {
        format!("/v2/functions/namespaces/{}/policy", segment(namespace))
    }
}

/// The policy as it was typed.
struct Draft {
    longest: String,
    shortest: String,
    expiry_required: bool,
    keys_per_owner: String,
    unique_names: bool,
    grace: String,
}

impl Draft {
    fn of(policy: &Policy) -> Self {
        let most = policy.keys_per_owner.map(|most| most.to_string());
        Self {
            longest: policy.max_expires_in.clone().unwrap_or_default(),
            shortest: policy.min_expires_in.clone(),
            expiry_required: policy.expiry_required,
            keys_per_owner: most.unwrap_or_default(),
            unique_names: policy.unique_names,
            grace: duration(policy.max_grace_seconds),
        }
    }

    fn typed(fields: &Fields) -> Self {
        Self {
            longest: fields.owned("longest"),
            shortest: fields.owned("shortest"),
            expiry_required: fields.has("expiry_required"),
            keys_per_owner: fields.owned("keys_per_owner"),
            unique_names: fields.has("unique_names"),
            grace: fields.owned("grace"),
        }
    }

    /// The fields of the form.
    fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = vec![
            ("longest", self.longest.clone()),
            ("shortest", self.shortest.clone()),
            ("keys_per_owner", self.keys_per_owner.clone()),
            ("grace", self.grace.clone()),
        ];
        for (name, is_set) in [
            ("expiry_required", self.expiry_required),
            ("unique_names", self.unique_names),
        ] {
            if is_set {
                fields.push((name, "yes".to_owned()));
            }
        }
        fields
    }

    fn parse(&self) -> Result<Policy, Fault> {
        let ttl = |field: &str, text: &str| {
            if ttl_seconds(text).is_some_and(|seconds| seconds > 0) {
                Ok(text.to_owned())
            } else {
                Err(Fault::new(field, "Write hours or days, as in 12h or 90d."))
            }
        };
        let number = |field: &str, text: &str| {
            text.parse::<u32>()
                .map_err(|_| Fault::new(field, "Enter a whole number."))
        };
        let grace = duration_seconds(&self.grace).ok_or_else(|| {
            let message = "Write days, hours, minutes or seconds, as in 24h or 30m.";
            Fault::new("grace", message)
        })?;
        Ok(Policy {
            min_expires_in: ttl("shortest", &self.shortest)?,
            max_expires_in: match self.longest.as_str() {
                "" => None,
                text => Some(ttl("longest", text)?),
            },
            expiry_required: self.expiry_required,
            keys_per_owner: match self.keys_per_owner.as_str() {
                "" => None,
                text => Some(number("keys_per_owner", text)?),
            },
            unique_names: self.unique_names,
            max_grace_seconds: grace,
        })
    }
}

/// The longest life of a secret, in seconds; none for no limit.
fn longest(policy: &Policy) -> Option<u64> {
    policy.max_expires_in.as_deref().and_then(ttl_seconds)
}

/// What a change of the policy does to the keys that there are.
#[derive(Default)]
struct Effect {
    /// Keys that stop at once.
    stops: Vec<Key>,
    /// Keys that will stop earlier, and when.
    shortened: Vec<(Key, Moment)>,
    /// Keys that work on and could not be created any more.
    without_expiry: u64,
    /// Owners who have more keys than the policy allows: they work on.
    above: Vec<(String, u64)>,
    looked_through: u64,
    /// Whether there are keys that were not looked through.
    more: bool,
    /// Whether the longest life becomes shorter: then those may stop too.
    shortens: bool,
}

impl Effect {
    fn of(keys: Vec<Key>, more: bool, policy: &Policy, now: Moment) -> Self {
        let mut effect = Self {
            looked_through: keys.len() as u64,
            more,
            ..Self::default()
        };
        let longest = longest(policy).and_then(|seconds| i64::try_from(seconds).ok());
        let mut owners: BTreeMap<String, u64> = BTreeMap::new();
        for key in keys {
            *owners.entry(key.owner.clone()).or_default() += 1;
            if policy.expiry_required && longest.is_none() && key.expires_at.is_none() {
                effect.without_expiry += 1;
            }
            let Some(longest) = longest else { continue };
            let end = key.secret_issued_at.plus(longest);
            if key.expires_at.is_some_and(|at| at <= end) {
                continue;
            }
            if end <= now {
                effect.stops.push(key);
            } else {
                effect.shortened.push((key, end));
            }
        }
        if let Some(most) = policy.keys_per_owner {
            owners.retain(|_, keys| *keys > u64::from(most));
            effect.above = owners.into_iter().collect();
        }
        effect
    }

    /// Whether a key stops at once, or could.
    fn may_stop(&self) -> bool {
        !self.stops.is_empty() || self.more && self.shortens
    }

    /// What it did, in a sentence.
    fn done(&self) -> String {
        let stopped = count(self.stops.len() as u64, "key");
        match (self.stops.len(), self.more && self.shortens) {
            (0, false) => "No key stopped.".to_owned(),
            (_, false) => format!("{stopped} stopped at once."),
            (0, true) => {
                "Keys that are older than it allows have stopped: not all of them could be counted."
                    .to_owned()
            }
            (_, true) => format!("{stopped} stopped at once, of those that were looked through."),
        }
    }
}

/// What a change does, as it is shown before it is made.
struct Preview {
    effect: Effect,
    /// Whether the policy of the namespace is removed.
    inherits: bool,
    /// What the policy would allow.
    rules: Vec<String>,
    /// A text that two previews have in common only if they showed the same change, and as many keys that stop.
    shown: String,
}

impl Preview {
    fn new(policy: &Policy, effect: Effect, inherits: bool) -> Self {
        Self {
            rules: rules(policy),
            shown: format!("{inherits} {} {}", effect.stops.len(), policy.text()),
            effect,
            inherits,
        }
    }
}

#[derive(Template)]
#[template(path = "policy_edit.html")]
struct Edit {
    shell: Shell,
    namespace: String,
    title: String,
    /// The policy that the form began with.
    was: String,
    draft: Draft,
    rules: Vec<String>,
    preview: Option<Preview>,
    typed: String,
    fault: Fault,
    manages: bool,
}

impl Edit {
    fn segment(&self) -> String {
        segment(&self.namespace)
    }

    fn is_default(&self) -> bool {
        self.namespace == DEFAULT
    }

    /// What must be typed if keys stop.
    fn word(&self) -> &str {
        if self.is_default() {
            DEFAULT
        } else {
            &self.title
        }
    }
}

async fn title(visit: &Visit, namespace: &str) -> Result<String, Failure> {
    if namespace == DEFAULT {
        return Ok("All namespaces without a policy of their own".to_owned());
    }
    let known = namespaces(visit, namespace).await?;
    let known = known.into_iter().find(|known| known.namespace == namespace);
    known
        .map(|known| known.title())
        .ok_or_else(Failure::not_found)
}

async fn screen(visit: &Visit, namespace: String) -> Result<Edit, Failure> {
    let title = title(visit, &namespace).await?;
    let policy = visit
        .api
        .get::<ShownPolicy>(&path_of(&namespace))
        .await?
        .policy;
    Ok(Edit {
        shell: Shell::of(visit, &format!("Policy: {title}"), Section::Policies),
        manages: if namespace == DEFAULT {
            visit.can.operate
        } else {
            visit.can.manage_team
        },
        namespace,
        title,
        was: policy.text(),
        draft: Draft::of(&policy),
        rules: rules(&policy),
        preview: None,
        typed: String::new(),
        fault: Fault::default(),
    })
}

pub(crate) async fn edit(visit: Visit, Path(namespace): Path<String>) -> Answer {
    Ok(page(&screen(&visit, namespace).await?))
}

pub(crate) async fn submit(
    visit: Visit,
    Path(namespace): Path<String>,
    Form(fields): Form,
) -> Answer {
    let draft = Draft::typed(&fields);
    let mut screen = screen(&visit, namespace).await?;
    if screen.was != fields.get("was") {
        screen.draft = draft;
        screen.fault = Fault::new(
            "",
            "Somebody else has changed this policy meanwhile: “Now” shows it. To overwrite that, press the button once more.",
        );
        return Ok(page_with(StatusCode::CONFLICT, &screen));
    }
    let inherits = matches!(fields.get("step"), "inherit" | "inherit-now");
    let parsed = if inherits {
        Ok(inherited(&visit, &screen.namespace).await?)
    } else {
        draft.parse()
    };
    screen.draft = draft;
    screen.typed = fields.owned("typed");
    let policy = match parsed {
        Ok(policy) => policy,
        Err(fault) => {
            screen.fault = fault;
            return Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &screen));
        }
    };
    let effect = effect(&visit, &screen, &policy).await?;
    let preview = Preview::new(&policy, effect, inherits);
    screen.fault = match fields.get("step") {
        "save" | "inherit-now" => unconfirmed(&screen, &preview, &fields),
        _ => {
            screen.preview = Some(preview);
            return Ok(page(&screen));
        }
    };
    if screen.fault.is_some() {
        screen.preview = Some(preview);
        return Ok(page_with(StatusCode::UNPROCESSABLE_ENTITY, &screen));
    }
    let path = path_of(&screen.namespace);
    let saved = if inherits {
        visit.api.delete(&path).await.map(|()| policy)
    } else {
        let set = visit.api.send(Method::PUT, &path, &body(&policy)).await;
        set.map(|set: ShownPolicy| set.policy)
    };
    match saved {
        Ok(policy) => {
            let notice = saved_notice(&visit, &screen, &policy, &preview).await?;
            Ok(visit.done(&format!("/policies/{}", screen.segment()), notice))
        }
        Err(refused) if shown_at_the_form(refused.status) => {
            screen.fault = Fault::of(&refused.message, &FIELDS);
            Ok(page_with(refused.status, &screen))
        }
        Err(refused) => Err(refused.into()),
    }
}

/// What is missing before the change is made: it must be the one that was shown, and if keys stop, the name
/// must be typed.
fn unconfirmed(screen: &Edit, preview: &Preview, fields: &Fields) -> Fault {
    if fields.get("previewed") != preview.shown {
        let message = "What this does was not shown before. It is shown now: read it, and press the button once more.";
        return Fault::new("", message);
    }
    let typed = [screen.word(), &screen.namespace].contains(&screen.typed.as_str());
    if preview.effect.may_stop() && !typed {
        return Fault::new("typed", format!("Type exactly: {}", screen.word()));
    }
    Fault::default()
}

/// The policy that would apply without one of the namespace's own.
async fn inherited(visit: &Visit, namespace: &str) -> Result<Policy, Failure> {
    if namespace == DEFAULT {
        let built_in = keyfob::manage::Policy::default();
        return Ok(Policy {
            min_expires_in: built_in.min_ttl.to_string(),
            max_expires_in: built_in.max_ttl.map(|ttl| ttl.to_string()),
            expiry_required: built_in.expiry_required,
            keys_per_owner: built_in.keys_per_owner,
            unique_names: built_in.unique_names,
            max_grace_seconds: built_in.max_grace.as_secs(),
        });
    }
    let path = format!("{}?of=default", path_of(namespace));
    Ok(visit.api.get::<ShownPolicy>(&path).await?.policy)
}

/// Says what a change did, and offers to undo it: by the preview of the policy before.
async fn saved_notice(
    visit: &Visit,
    screen: &Edit,
    policy: &Policy,
    preview: &Preview,
) -> Result<Notice, Failure> {
    let title = if preview.inherits {
        format!("The default policy applies again: {}", screen.title)
    } else {
        format!("The policy is set: {}", screen.title)
    };
    let notice = Notice::done(title)
        .line(preview.effect.done())
        .line("It applies to new keys and rotations too.");
    if policy.text() == screen.was {
        return Ok(notice);
    }
    let address = format!("/policies/{}", screen.segment());
    let notice = notice
        .undo("Set it back…", address)
        .with("was", policy.text());
    if !preview.inherits && was_inherited(visit, &screen.namespace).await? {
        return Ok(notice.with("step", "inherit"));
    }
    let Ok(before) = serde_json::from_str::<Policy>(&screen.was) else {
        return Err(Failure::not_found());
    };
    let fields = Draft::of(&before).fields();
    Ok(fields
        .into_iter()
        .fold(notice.with("step", "preview"), |notice, (name, value)| {
            notice.with(name, value)
        }))
}

/// Whether the last change of the namespace's policy gave it one: before, it had none of its own.
async fn was_inherited(visit: &Visit, namespace: &str) -> Result<bool, Failure> {
    if namespace == DEFAULT || !visit.can.see_team {
        return Ok(false);
    }
    let rest = query([
        ("namespace", namespace),
        ("action", "policy_set"),
        ("order", "newest_first"),
        ("limit", "1"),
    ]);
    let path = visit.team_path(&format!("/audit{rest}"));
    let events: Events = visit.api.get(&path).await?;
    let last = events.events.first();
    Ok(last.is_some_and(|event| {
        !event.changes.is_empty() && event.changes.iter().all(|change| change.old.is_none())
    }))
}

const FIELDS: [(&str, &str); 4] = [
    ("max_expires_in", "longest"),
    ("min_expires_in", "shortest"),
    ("keys_per_owner", "keys_per_owner"),
    ("max_grace_seconds", "grace"),
];

fn body(policy: &Policy) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("min_expires_in".to_owned(), json!(policy.min_expires_in));
    if let Some(longest) = &policy.max_expires_in {
        body.insert("max_expires_in".to_owned(), json!(longest));
    }
    body.insert("expiry_required".to_owned(), json!(policy.expiry_required));
    body.insert("keys_per_owner".to_owned(), json!(policy.keys_per_owner));
    body.insert("unique_names".to_owned(), json!(policy.unique_names));
    body.insert(
        "max_grace_seconds".to_owned(),
        json!(policy.max_grace_seconds),
    );
    body
}

async fn effect(visit: &Visit, screen: &Edit, policy: &Policy) -> Result<Effect, Failure> {
    let before: Option<Policy> = serde_json::from_str(&screen.was).ok();
    let before = before.as_ref().and_then(longest).unwrap_or(u64::MAX);
    let shortens = longest(policy).is_some_and(|after| after < before);
    if screen.is_default() {
        // The keys of every team could not be looked through.
        return Ok(Effect {
            more: true,
            shortens,
            ..Effect::default()
        });
    }
    let rest = query([("namespace", screen.namespace.as_str()), ("limit", "1000")]);
    let keys: Keys = visit
        .api
        .get(&visit.team_path(&format!("/keys{rest}")))
        .await?;
    let more = keys.next_cursor.is_some();
    let mut keys = keys.access_keys;
    keys.retain(Key::is_living);
    Ok(Effect {
        shortens,
        ..Effect::of(keys, more, policy, visit.now)
    })
}
