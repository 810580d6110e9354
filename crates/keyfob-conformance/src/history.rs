//! A history with a change of every kind, for behaviours that look at the whole feed or trail.

use keyfob::{
    KeyStore, Tenant, Ttl,
    legacy::LegacyPolicy,
    manage::{Policy, Status},
    store::{Change, Revision, Target},
};

use crate::{
    fixture::{
        NOW, cut, deletion, home, kept, key, later, legacy, legacy_replacement, opening, part_of,
        removal, replacement, service, tenant, user,
    },
    reading::Gate,
};

/// Changes that are all allowed one after the other, beginning with an empty store, and the
/// credentials that they are about.
pub(crate) struct History {
    pub(crate) changes: Vec<Change>,
    /// What is presented to a gate: credential and namespace.
    pub(crate) credentials: Vec<(String, Tenant)>,
}

impl History {
    /// A history whose records expect the revisions of an empty store.
    pub(crate) fn new() -> Self {
        let mut history = Self {
            changes: Vec::new(),
            credentials: Vec::new(),
        };
        history.at_home();
        history.elsewhere();
        history
    }

    /// Keys, a rotation, a deletion, an owner's leaving and coming back.
    fn at_home(&mut self) {
        let laptop = key("laptop").until(later(5000));
        let (deploy, temporary, old) = (key("deploy"), key("temporary"), key("old"));
        let deploy = deploy.of(service("robot"));
        self.know(laptop.text());
        self.know(deploy.text());
        self.know(temporary.text());
        self.know(old.text());
        let first = self.add(laptop.creation());
        self.add(deploy.creation());
        let mut rotated = laptop.rotated(1000, NOW);
        rotated.record.revision = first;
        self.know(rotated.text());
        rotated.record.revision = self.add(replacement(&rotated.record));
        self.add(temporary.creation());
        self.add(deletion(&temporary.record));
        self.add(old.creation());
        let mut rotated_again = rotated.rotated(100, NOW);
        rotated_again.record.revision = rotated.record.revision;
        self.know(rotated_again.text());
        self.add(replacement(&rotated_again.record));
        self.add(removal(part_of(user("alice"))));
        self.add(opening(part_of(user("alice"))));
        let new = key("new");
        self.know(new.text());
        self.add(new.creation());
        self.add(default_policy(Some(
            Ttl::hours(1).expect("the life is valid"),
        )));
        self.add(cut(Target::Owner(home().team, service("robot"))));
        let (guest, visitor) = (legacy("guest"), legacy("visitor"));
        self.know(&guest.text);
        self.know(&visitor.text);
        let imported = self.add(guest.import());
        self.add(visitor.import());
        self.add(Change::SetLegacyPolicy {
            tenant: Some(home()),
            policy: Some(LegacyPolicy::until(later(2000))),
        });
        let mut revoked = guest.revoked();
        revoked.revision = imported;
        self.add(legacy_replacement(&revoked));
    }

    /// Other namespaces and teams, their policies and their ends.
    fn elsewhere(&mut self) {
        let (second, abroad) = (tenant("acme", "fn-2"), tenant("globex", "fn-3"));
        let phone = key("phone").of(user("bob")).within(&second);
        let mut phone_record = phone.record.clone();
        phone_record.revision = self.add(phone.creation());
        phone_record.status = Status::Disabled;
        phone_record.revision = self.add(replacement(&phone_record));
        phone_record.status = Status::Active;
        self.add(replacement(&phone_record));
        let (before, after) = (key("before").within(&abroad), key("after").within(&abroad));
        let ended = key("ended").within(&tenant("acme", "fn-4"));
        for (key, place) in [
            (&phone, &second),
            (&before, &abroad),
            (&after, &abroad),
            (&ended, &ended.record.tenant),
        ] {
            self.credentials
                .push((key.text().to_owned(), place.clone()));
        }
        self.add(Change::CreateNamespace {
            new: tenant("acme", "fn-5").into(),
        });
        self.add(before.creation());
        self.add(cut(Target::Team(abroad.team.clone())));
        self.add(after.creation());
        self.add(ended.creation());
        self.add(removal(Target::Namespace(ended.record.tenant.clone())));
        self.add(Change::SetPolicy {
            tenant: Some(second),
            policy: Some(Policy {
                max_ttl: Some(Ttl::hours(2).expect("the life is valid")),
                ..Policy::default()
            }),
        });
        self.add(default_policy(None));
        self.add(Change::SetLegacyPolicy {
            tenant: None,
            policy: Some(LegacyPolicy::until(later(3000))),
        });
        self.add(Change::SetLegacyPolicy {
            tenant: Some(home()),
            policy: None,
        });
    }

    fn add(&mut self, change: Change) -> Revision {
        self.changes.push(change);
        Revision::new(self.changes.len() as u64)
    }

    fn know(&mut self, text: &str) {
        self.credentials.push((text.to_owned(), home()));
    }

    /// Keeps all changes in `store`.
    pub(crate) async fn play(&self, store: &dyn KeyStore) {
        for change in &self.changes {
            kept(store, change.clone()).await;
        }
    }

    /// What a gate says to every credential, at several times.
    pub(crate) fn verdicts(&self, gate: &Gate) -> Vec<String> {
        let times = [0, 99, 100, 2000, 3599, 3600, 7200];
        let judge = |seconds| {
            self.credentials.iter().map(move |(text, place)| {
                let verdict = gate.decide(text, place, later(seconds));
                format!("after {seconds} s: {verdict:?}")
            })
        };
        times.into_iter().flat_map(judge).collect()
    }
}

fn default_policy(max_ttl: Option<Ttl>) -> Change {
    Change::SetPolicy {
        tenant: None,
        policy: max_ttl.map(|max_ttl| Policy {
            max_ttl: Some(max_ttl),
            ..Policy::default()
        }),
    }
}
