//! Compares management and verification with a naive model, for any sequence of operations.
//!
//! The model and the comparison are those of the fuzz target `operations`. Here the sequences come
//! from structured strategies, so that proptest shrinks a failing sequence to a few operations.

#[path = "../fuzz/src/model.rs"]
#[expect(unreachable_pub, reason = "the fuzz targets reach it")]
mod model;

use model::{End, ExpectedRevision, ModelTarget, Operation, Place, Rules, Sunset, WhichSecret};
use proptest::{collection::vec, option, prelude::*};

/// Returns durations around the limits: seconds, the minimum TTL, days, practically unlimited.
fn seconds() -> impl Strategy<Value = u32> {
    prop_oneof![
        0..3u32,
        3_595..3_606u32,
        (1..6u32).prop_map(|hours| hours * 3_600),
        86_395..86_406u32,
        Just(u32::MAX),
    ]
}

fn from_now() -> impl Strategy<Value = i64> {
    (seconds(), prop::bool::weighted(0.1)).prop_map(|(length, past)| {
        let length = i64::from(length);
        if past { -length } else { length }
    })
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        Just(End::Never),
        seconds().prop_map(|length| End::In(length.into())),
        from_now().prop_map(End::At),
    ]
}

/// Returns one of the first dozen keys, so that operations often concern the same key.
fn key() -> impl Strategy<Value = u8> {
    0..12u8
}

fn place() -> impl Strategy<Value = Place> {
    prop_oneof![9 => Just(Place::Own), 1 => (0..4u8).prop_map(Place::Some)]
}

fn expected_revision() -> impl Strategy<Value = ExpectedRevision> {
    prop_oneof![4 => Just(ExpectedRevision::Any), 2 => Just(ExpectedRevision::Current), 1 => Just(ExpectedRevision::Outdated)]
}

fn target() -> impl Strategy<Value = ModelTarget> {
    prop_oneof![
        1 => (0..4u8).prop_map(ModelTarget::Team),
        2 => (0..4u8).prop_map(ModelTarget::Namespace),
        4 => (0..4u8, 0..3u8).prop_map(|(place, owner)| ModelTarget::Owner(place, owner)),
    ]
}

fn rules() -> impl Strategy<Value = Rules> {
    (
        seconds(),
        option::of(seconds()),
        any::<bool>(),
        option::weighted(0.3, 0..4u32),
        any::<bool>(),
        seconds(),
    )
        .prop_map(
            |(min, max, end_required, keys_per_owner, unique_names, grace)| Rules {
                min: min.into(),
                max: max.map(u64::from),
                end_required,
                keys_per_owner,
                unique_names,
                grace: grace.into(),
            },
        )
}

fn which() -> impl Strategy<Value = WhichSecret> {
    prop_oneof![
        4 => Just(WhichSecret::Current),
        3 => Just(WhichSecret::Replaced),
        1 => Just(WhichSecret::First),
        1 => key().prop_map(WhichSecret::Foreign),
        1 => any::<u8>().prop_map(WhichSecret::Garbled),
    ]
}

fn create_operation() -> impl Strategy<Value = Operation> {
    let starts = option::weighted(0.2, from_now());
    (0..4u8, 0..3u8, 0..5u8, any::<bool>(), starts, end()).prop_map(
        |(place, owner, name, scoped, starts, end)| Operation::Create {
            place,
            owner,
            name,
            scoped,
            starts,
            end,
        },
    )
}

fn key_operation() -> impl Strategy<Value = Operation> {
    let name = option::of(0..5u8);
    let update = (
        key(),
        place(),
        expected_revision(),
        name,
        option::of(any::<bool>()),
        option::of(from_now()),
    );
    let rotate = (
        key(),
        place(),
        expected_revision(),
        seconds(),
        option::of(end()),
    );
    prop_oneof![
        2 => update.prop_map(|(key, place, expected_revision, name, scoped, ends)| Operation::Update {
            key, place, expected_revision, name, scoped, ends,
        }),
        4 => rotate.prop_map(|(key, place, expected_revision, grace, renew)| Operation::Rotate {
            key, place, expected_revision, grace: grace.into(), renew,
        }),
        1 => (key(), place()).prop_map(|(key, place)| Operation::Disable { key, place }),
        1 => (key(), place()).prop_map(|(key, place)| Operation::Enable { key, place }),
        1 => (key(), place()).prop_map(|(key, place)| Operation::Revoke { key, place }),
        1 => (key(), place()).prop_map(|(key, place)| Operation::Delete { key, place }),
    ]
}

fn policy_operation() -> impl Strategy<Value = Operation> {
    let sunset = (seconds(), seconds(), seconds()).prop_map(|(lasts, starts, length)| Sunset {
        lasts,
        starts,
        length,
    });
    prop_oneof![
        3 => (target(), any::<bool>(), any::<bool>()).prop_map(|(target, block, in_advance)| {
            Operation::RevokeAll { target, block, in_advance }
        }),
        3 => target().prop_map(|target| Operation::Restore { target }),
        2 => (option::of(0..4u8), option::of(rules()))
            .prop_map(|(place, rules)| Operation::SetPolicy { place, rules }),
        2 => (option::of(0..4u8), option::of(sunset))
            .prop_map(|(place, sunset)| Operation::SetLegacyPolicy { place, sunset }),
        1 => (0..3u8, 0..4u8, prop::bool::weighted(0.2))
            .prop_map(|(legacy, place, blocked)| Operation::Import { legacy, place, blocked }),
        1 => (0..3u8, 0..4u8)
            .prop_map(|(legacy, place)| Operation::RevokeLegacy { legacy, place }),
    ]
}

fn use_operation() -> impl Strategy<Value = Operation> {
    let namespace = || option::weighted(0.2, 0..4u8);
    prop_oneof![
        5 => (key(), which(), namespace(), any::<bool>()).prop_map(
            |(key, secret, namespace, writes)| Operation::Verify { key, secret, namespace, writes },
        ),
        1 => (0..3u8, any::<bool>(), namespace()).prop_map(
            |(legacy, right, namespace)| Operation::VerifyLegacy { legacy, right, namespace },
        ),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        5 => create_operation(),
        5 => key_operation(),
        4 => policy_operation(),
        4 => use_operation(),
        3 => seconds().prop_map(|seconds| Operation::Pass { seconds }),
        1 => seconds().prop_map(|seconds| Operation::JumpBack { seconds }),
        1 => Just(Operation::LateFeed),
        1 => (0..8u8).prop_map(|entries| Operation::Replicate { entries }),
        1 => Just(Operation::Restart),
        2 => Just(Operation::Check),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn the_library_agrees_with_the_model_for_any_sequence_of_operations(mut operations in vec(operation(), 1..80)) {
        operations.push(Operation::Check);
        model::run(&operations);
    }
}
