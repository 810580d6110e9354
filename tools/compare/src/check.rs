//! That a rival does the job, before anybody asks how fast.

use crate::rival::{By, DAY, Grant, Rival};

/// Whether a rival accepts what it must, knows the owner, and refuses the rest.
pub(crate) fn check(rival: &mut dyn Rival, now: i64) -> Result<(), String> {
    let what = rival.facts().what;
    let fail = |fault: &str| Err(format!("{what}: {fault}"));

    let (one, other) = (Grant::nth(1, now), Grant::nth(901, now));
    let key = rival.issue(&one);
    let other_key = rival.issue(&other);
    for (key, grant) in [(&key, &one), (&other_key, &other)] {
        match rival.verify(key, &grant.namespace, now).as_deref() {
            Some(owner) if owner == grant.owner => {}
            Some(_) => return fail("took one owner for another"),
            None => return fail("refused a valid credential"),
        }
    }
    if rival.verify(&key, &other.namespace, now).is_some() {
        return fail("let a credential into another namespace");
    }

    let past = Grant {
        expires_at: now - DAY,
        ..Grant::nth(1, now - 3 * DAY)
    };
    let expired = rival.issue(&past);
    if rival.verify(&expired, &past.namespace, now).is_some() {
        return fail("accepted an expired credential");
    }

    let mut altered: Vec<String> = ["", ":", "..", "_", "A", &key[1..], &key[..key.len() - 1]]
        .map(str::to_owned)
        .into();
    for (at, character) in key.char_indices() {
        let mut text = key.clone();
        // Not the same letter in the other case: the name of an HTTP scheme has none.
        let stranger = if "Aa".contains(character) { "B" } else { "A" };
        text.replace_range(at..=at, stranger);
        altered.push(text);
    }
    let mut accepted = 0;
    for text in &altered {
        if let Some(owner) = rival.verify(text, &one.namespace, now) {
            accepted += 1;
            if *owner != one.owner || rival.verify(text, &other.namespace, now).is_some() {
                return fail("accepted a tampered credential as something else");
            }
        }
    }
    if rival.has_one_text() && accepted > 0 || accepted * 20 > altered.len() {
        return fail("accepted a tampered credential");
    }
    if !rival.has_one_text() && accepted == 0 {
        return fail("has one text after all");
    }

    let revoked = rival.revoke(&key, now);
    if revoked != (rival.facts().revocation != By::Nobody) {
        return fail("is not what its facts say about revocation");
    }
    if revoked && rival.verify(&key, &one.namespace, now).is_some() {
        return fail("accepted a revoked credential");
    }
    match rival.verify(&other_key, &other.namespace, now) {
        Some(_) => Ok(()),
        None => fail("forgot one credential when another was revoked"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::{
        rival::{Facts, Owner},
        rivals,
    };

    fn now() -> i64 {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.expect("the clock is right").as_secs().cast_signed()
    }

    #[test]
    fn every_rival_does_the_job() {
        for mut rival in rivals::all() {
            assert_eq!(check(&mut *rival, now()), Ok(()));
        }
    }

    #[test]
    fn a_forgetful_rival_is_found_out() {
        for (forgets, fault) in [
            (Forgets::Owner, "took one owner for another"),
            (
                Forgets::Namespace,
                "let a credential into another namespace",
            ),
            (Forgets::Expiry, "accepted an expired credential"),
            (Forgets::Secret, "accepted a tampered credential"),
            (Forgets::Length, "accepted a tampered credential"),
            (Forgets::Revocation, "accepted a revoked credential"),
        ] {
            let mut rival = Forgetful {
                forgets,
                keys: vec![],
            };
            assert_eq!(check(&mut rival, now()), Err(format!("forgetful: {fault}")));
        }
    }

    #[derive(PartialEq)]
    enum Forgets {
        Owner,
        Namespace,
        Expiry,
        Secret,
        Length,
        Revocation,
    }

    /// Keeps credentials in plain text, and forgets one thing.
    struct Forgetful {
        forgets: Forgets,
        keys: Vec<(String, Grant)>,
    }

    impl Rival for Forgetful {
        fn facts(&self) -> Facts {
            Facts {
                what: "forgetful",
                package: "",
                revocation: By::Caller,
                expiry: By::Caller,
                namespace: By::Caller,
                constant_time: "no",
                lacks: "",
            }
        }

        fn issue(&mut self, grant: &Grant) -> String {
            let credential = format!("{:04}:secret", self.keys.len());
            self.keys.push((credential.clone(), grant.clone()));
            credential
        }

        fn verify(&self, credential: &str, namespace: &str, now: i64) -> Option<Owner<'_>> {
            let (_, grant) = self.keys.iter().find(|(key, _)| match self.forgets {
                Forgets::Secret => credential.get(..5) == key.get(..5),
                Forgets::Length => credential.len() > 5 && key.starts_with(credential),
                _ => key == credential,
            })?;
            let opens = match self.forgets {
                Forgets::Namespace => grant.opens(&grant.namespace, now),
                Forgets::Expiry => grant.opens(namespace, i64::MIN),
                _ => grant.opens(namespace, now),
            };
            let owner = match self.forgets {
                Forgets::Owner => "somebody",
                _ => &grant.owner,
            };
            opens.then_some(Owner::Borrowed(owner))
        }

        fn revoke(&mut self, credential: &str, _now: i64) -> bool {
            if self.forgets != Forgets::Revocation {
                self.keys.retain(|(key, _)| key != credential);
            }
            true
        }
    }
}
