//! A change of a policy: shown before it is made, and confirmed if keys stop.

use keyfob::{MemoryStore, Ttl, manage::Policy};
use keyfob_api::Right;

use crate::fixture::{Answer, Fixture, NOW, changed, tenant};

const ADDRESS: &str = "/policies/orders";

/// A plane with a key that was created 40 days ago.
async fn plane() -> (Fixture, String) {
    let plane = Fixture::over(MemoryStore::new()).await;
    plane.key("orders", "user:bob", "nightly export").await;
    plane.set(NOW + 40 * 86_400);
    let admin = plane
        .control_key("acme", "user:alice", Right::TeamAdmin)
        .await;
    let cookie = plane.sign_in(&admin).await;
    (plane, cookie)
}

impl Fixture {
    /// Sends the form of a page with one field changed and this button.
    async fn press(&self, page: &Answer, cookie: &str, field: (&str, &str), step: &str) -> Answer {
        let body = changed(page.inputs(ADDRESS), field.0, field.1) + "&step=" + step;
        self.post(ADDRESS, cookie, &body).await
    }

    async fn longest(&self) -> Option<String> {
        let orders = tenant("orders");
        let policy = self.keyring.policy(Some(&orders)).await.unwrap();
        policy.max_ttl.map(|ttl| ttl.to_string())
    }
}

const NONE: (&str, &str) = ("", "");

#[tokio::test]
async fn only_the_policy_that_was_previewed_is_set() {
    let (plane, cookie) = plane().await;
    let opened = plane.get(ADDRESS, &cookie).await;
    // Without a preview, nothing is set.
    let answer = plane
        .press(&opened, &cookie, ("longest", "60d"), "save")
        .await;
    assert_eq!((answer.status, plane.longest().await), (422, None));
    assert!(
        answer.text.contains("1 key expires earlier"),
        "{}",
        answer.text
    );
    // A preview, and then other values with the button of the preview: they are shown first.
    let shown = plane
        .press(&opened, &cookie, ("longest", "60d"), "preview")
        .await;
    assert_eq!(shown.status, 200);
    let other = plane
        .press(&shown, &cookie, ("longest", "1d"), "save")
        .await;
    assert_eq!((other.status, plane.longest().await), (422, None));
    assert!(other.text.contains("1 key stops at once"), "{}", other.text);
    assert!(
        other.text.contains("was not shown before"),
        "{}",
        other.text
    );
    let set = plane.press(&shown, &cookie, NONE, "save").await;
    assert_eq!(set.status, 303, "{}", set.text);
    assert_eq!(plane.longest().await.as_deref(), Some("60d"));
    let told = plane.get(ADDRESS, &cookie).await.text;
    assert!(told.contains("No key stopped."), "{told}");
}

#[tokio::test]
async fn a_policy_that_stops_keys_is_set_only_with_its_name_typed() {
    let (plane, cookie) = plane().await;
    let opened = plane.get(ADDRESS, &cookie).await;
    let shown = plane
        .press(&opened, &cookie, ("longest", "30d"), "preview")
        .await;
    assert!(shown.text.contains("1 key stops at once"), "{}", shown.text);
    for typed in ["", "Orders", "30d"] {
        let answer = plane.press(&shown, &cookie, ("typed", typed), "save").await;
        assert_eq!(
            (answer.status, plane.longest().await),
            (422, None),
            "{typed}"
        );
        assert!(answer.text.contains("Type exactly: orders"));
    }
    let set = plane
        .press(&shown, &cookie, ("typed", "orders"), "save")
        .await;
    assert_eq!(set.status, 303, "{}", set.text);
    let told = plane.get(ADDRESS, &cookie).await;
    assert!(
        told.text.contains("1 key stopped at once."),
        "{}",
        told.text
    );
    // Its undo shows what the policy before does, which was the default.
    let body = changed(told.inputs(ADDRESS), "", "");
    let undo = plane.post(ADDRESS, &cookie, &body).await;
    assert!(
        undo.text.contains("What the default policy does"),
        "{}",
        undo.text
    );
    let set = plane.press(&undo, &cookie, NONE, "inherit-now").await;
    assert_eq!(
        (set.status, plane.longest().await),
        (303, None),
        "{}",
        set.text
    );
}

#[tokio::test]
async fn the_default_policy_is_used_again_after_a_preview() {
    let (plane, cookie) = plane().await;
    let context = plane.context();
    let short = Policy::default().with_max_ttl(Ttl::days(30).unwrap());
    let set = plane.keyring.set_policy(&context, None, Some(short));
    set.await.unwrap();
    let own = Policy::default().with_keys_per_owner(7);
    let orders = tenant("orders");
    let set = plane.keyring.set_policy(&context, Some(&orders), Some(own));
    set.await.unwrap();
    let opened = plane.get(ADDRESS, &cookie).await;
    let shown = plane.press(&opened, &cookie, NONE, "inherit").await;
    assert_eq!((shown.status, plane.longest().await), (200, None));
    assert!(shown.text.contains("1 key stops at once"), "{}", shown.text);
    assert!(
        shown
            .text
            .contains("A key works for 30 days at the longest")
    );
    let refused = plane.press(&shown, &cookie, NONE, "inherit-now").await;
    assert_eq!((refused.status, plane.longest().await), (422, None));
    let done = plane
        .press(&shown, &cookie, ("typed", "orders"), "inherit-now")
        .await;
    assert_eq!(done.status, 303, "{}", done.text);
    assert_eq!(plane.longest().await.as_deref(), Some("30d"));
    // The undo shows the policy of the namespace again.
    let told = plane.get(ADDRESS, &cookie).await;
    let undo = plane
        .post(ADDRESS, &cookie, &changed(told.inputs(ADDRESS), "", ""))
        .await;
    assert!(undo.text.contains("No key stops at once."), "{}", undo.text);
    let set = plane.press(&undo, &cookie, NONE, "save").await;
    assert_eq!(
        (set.status, plane.longest().await),
        (303, None),
        "{}",
        set.text
    );
    let policy = plane.keyring.policy(Some(&orders)).await.unwrap();
    assert_eq!(policy.keys_per_owner, Some(7));
}
