//! The behaviours that every [`KeyStore`] must show, one plain function each.
//!
//! A behaviour takes an empty store, plays on it and panics with a message if a clause of the
//! contract is broken. [`suite!`] makes a test of each:
//!
//! ```
//! keyfob_conformance::suite!(keyfob::MemoryStore::new());
//! ```
//!
//! The expression makes a fresh, empty store and is evaluated once for each test. It may give
//! anything that dereferences to a store, such as a guard that removes a file or a schema when
//! it is dropped. A store that needs a runtime names the function that runs a future on it; the
//! expression is then part of that future and may wait:
//!
//! ```
//! # use keyfob::{MemoryStore, block_on as on_a_runtime};
//! # async fn connect() -> Result<MemoryStore, std::convert::Infallible> { Ok(MemoryStore::new()) }
//! keyfob_conformance::suite!(
//!     run = on_a_runtime,
//!     store = connect().await.expect("the server answers"),
//! );
//! ```
//!
//! A durable store says how it is opened again, and is then compared with itself after each
//! behaviour:
//!
//! ```
//! # use std::sync::Arc;
//! # use keyfob::MemoryStore;
//! keyfob_conformance::suite!(
//!     store = Arc::new(MemoryStore::new()),
//!     reopen = |store| Arc::clone(&store),
//! );
//! ```
//!
//! [`behaviours`] gives the same list as values, for another test runner.

#![forbid(unsafe_code)]
#![expect(
    clippy::missing_panics_doc,
    reason = "every behaviour panics if and only if the store does not show it"
)]

pub mod audit;
pub mod authority;
pub mod commits;
pub mod cutoffs;
pub mod feed;
mod fixture;
mod history;
pub mod key_format;
pub mod keys;
pub mod legacy;
pub mod listing;
pub mod lives;
pub mod model;
pub mod names;
pub mod namespaces;
pub mod policies;
pub mod race;
mod reading;
mod refusal;
pub mod reopening;
pub mod targets;
pub mod tenants;
pub mod usage;
pub mod usage_days;
pub mod waiting;

use std::{fmt, future::Future, pin::Pin};

use keyfob::KeyStore;
#[doc(hidden)]
pub use keyfob::block_on;

/// Hands the names of all behaviours, by module, to another macro.
///
/// `for_each_behaviour!([path::to::callback] tokens)` becomes
/// `path::to::callback! { [tokens] module { behaviour … } … }`.
#[macro_export]
macro_rules! for_each_behaviour {
    ([$($callback:tt)*] $($tokens:tt)*) => {
        $($callback)*! {
            [$($tokens)*]
            commits {
                every_commit_gets_the_next_revision
                a_commit_has_one_revision_everywhere
                a_reader_sees_what_was_committed_before
                a_refused_commit_changes_nothing
                commits_at_once_get_a_revision_each
                of_rotations_at_once_one_wins
                of_equal_names_at_once_one_is_kept
                a_removal_that_races_with_creations_leaves_no_key
                a_target_without_keys_can_be_cut
            }
            keys {
                a_created_key_is_found_everywhere
                the_store_sets_birth_and_revision
                every_field_of_a_key_is_kept
                empty_and_full_sets_are_kept_apart
                extreme_moments_are_kept
                an_identifier_is_taken_for_ever
                a_deleted_key_is_gone_everywhere
                a_deleted_key_stays_deleted
                a_revoked_key_can_be_deleted
                a_person_and_a_service_of_one_name_are_two_owners
                keys_and_legacy_credentials_do_not_mix
            }
            names {
                a_taken_name_is_refused
                a_taken_name_is_refused_to_a_renamed_key
                a_renamed_key_frees_its_old_name
                a_name_is_free_once_its_key_has_ended
                a_name_is_taken_until_the_moment_of_expiry
                a_key_that_waits_keeps_its_name
                a_name_is_taken_in_its_namespace_only
                a_name_is_taken_for_its_owner_only
                names_may_repeat_where_the_policy_allows
                names_that_look_alike_are_different
                an_owner_has_no_more_keys_than_allowed
                where_no_key_is_allowed_the_first_is_refused
                other_owners_and_namespaces_do_not_count
                a_key_that_has_ended_does_not_count
            }
            lives {
                a_replaced_key_keeps_its_birth
                a_replacement_does_not_choose_its_birth
                a_stale_replacement_is_refused
                a_stale_deletion_is_refused
                an_unknown_key_cannot_be_changed
                a_revoked_key_is_revoked_everywhere
                a_revoked_key_never_comes_back
                a_disabled_key_can_be_enabled
                a_key_expires_at_the_exact_second
                a_key_begins_at_the_exact_second
                an_expired_key_is_not_dropped
                a_replaced_secret_ends_with_its_grace
                a_rotation_never_lengthens_a_life
                a_rotation_without_grace_ends_the_old_secret
                an_earlier_end_ends_both_secrets
            }
            tenants {
                a_key_of_another_tenant_is_not_found
                a_key_of_another_tenant_is_not_replaced
                a_key_keeps_its_owner
                a_key_of_another_tenant_is_not_deleted
                a_legacy_credential_of_another_tenant_is_not_replaced
                a_namespace_belongs_to_its_first_team
                the_first_change_binds_a_namespace
                an_unknown_namespace_is_refused
                a_namespace_stays_with_its_team
                a_key_opens_its_own_namespace_only
                hostile_names_stay_apart
            }
            namespaces {
                a_namespace_is_listed_from_its_first_change_on
                a_namespace_is_listed_while_its_keys_come_and_go
                a_namespace_is_created_once
                a_namespace_keeps_its_label_and_region
                no_namespace_is_created_in_a_closed_team
                the_feed_passes_over_a_created_namespace
                a_removed_namespace_says_so
                namespaces_are_listed_page_by_page
            }
            cutoffs {
                no_key_outlives_its_owner
                a_service_is_removed_alone
                no_key_outlives_its_namespace
                no_key_outlives_its_team
                a_key_created_after_its_owner_left_is_refused
                a_rotation_prepared_before_a_removal_is_refused
                reopening_revives_nothing
                a_cut_without_closing_lets_new_keys_be_made
                a_later_cut_does_not_open_a_closed_target
                each_cut_revokes_what_came_before_it
                a_cut_does_not_rewrite_a_revocation
                a_key_behind_a_cut_cannot_be_replaced
                a_target_that_is_not_closed_cannot_be_opened
                opening_one_target_opens_no_other
                a_closed_target_closes_no_other
                legacy_credentials_end_with_their_target
                lists_select_by_status_behind_cuts
            }
            targets {
                an_unknown_target_is_refused
                one_target_is_looked_up
                a_target_can_be_removed_in_advance
                an_owner_is_known_by_any_key_in_the_team
                a_team_is_known_by_its_namespaces
                teams_and_owners_are_listed_by_their_names
                a_removed_target_is_listed_as_removed
                targets_are_listed_page_by_page
                live_credentials_are_counted
                a_count_applies_cutoffs
                keys_that_an_owner_created_for_others_are_found
            }
            listing {
                keys_are_listed_in_the_order_of_creation
                pages_join_to_the_whole_list
                the_last_page_says_so
                keys_created_between_pages_come_last
                changes_between_pages_disturb_no_place
                nothing_comes_behind_the_last_key
                limits_are_clamped
                no_page_is_larger_than_the_maximum
                filters_select_what_they_say
                keys_are_listed_newest_first
                keys_are_found_by_their_identifiers
                keys_are_found_by_a_text_in_what_names_them
                keys_are_listed_by_their_expiry
                no_list_crosses_teams
            }
            feed {
                an_empty_feed_is_at_its_end
                the_feed_tells_each_subject_once
                parts_of_the_feed_join_to_the_whole
                the_feed_goes_on_from_every_revision
                the_feed_moves_on_at_a_limit_of_zero
                a_reader_ahead_of_the_store_is_told
                a_change_moves_its_subject_to_the_end
                the_feed_tells_of_cuts_and_openings
                a_cut_rewrites_no_record
                indexes_agree_wherever_they_began
                pages_of_the_feed_name_their_history
                entries_of_the_feed_have_their_tenant
            }
            audit {
                every_commit_leaves_one_event
                the_trail_is_one_chain
                pages_of_the_trail_join_up
                every_field_of_an_event_is_kept
                an_event_says_what_was_changed
                no_event_holds_a_secret_or_a_digest
                the_trail_describes_the_store
                a_deletion_keeps_the_trail
                the_trail_is_selected_by_what_it_says
                the_trail_is_selected_by_action
                leaks_are_told_from_other_revocations
                the_trail_is_selected_by_time
                the_trail_is_listed_newest_first
            }
            authority {
                an_actor_without_a_credential_is_refused
                a_revoked_actor_is_refused
                an_actor_can_revoke_itself_once
                an_actor_before_a_cutoff_is_refused
                a_disabled_actor_is_refused
                an_expired_actor_is_refused
                an_actor_that_is_not_yet_valid_is_refused
                an_actor_past_the_maximum_of_its_namespace_is_refused
                an_actor_that_lost_a_scope_is_refused
                a_legacy_actor_that_is_no_longer_accepted_is_refused
                a_removed_owner_is_refused
                the_system_is_never_refused
                every_kind_of_change_is_checked
                no_change_comes_after_its_actors_revocation
                no_change_comes_after_its_owners_removal
            }
            key_format {
                no_key_format_is_recorded_at_first
                the_first_key_format_is_kept
                of_key_formats_at_once_one_is_kept
            }
            waiting {
                a_commit_ends_every_wait
                a_reader_behind_the_store_does_not_wait
                no_commit_is_missed_between_two_waits
            }
            usage {
                a_key_that_was_never_used_has_no_usage
                counts_are_added
                last_use_only_moves_forward
                a_use_to_come_counts_as_one_now
                a_refused_use_is_no_use
                a_use_of_the_previous_secret_is_a_use
                usage_before_the_epoch_is_kept
                unknown_credentials_are_passed_over
                keys_and_legacy_credentials_are_counted_apart
                usage_outlives_changes_and_makes_none
                a_repeated_batch_is_counted_once
                of_equal_batches_at_once_one_is_counted
                an_older_batch_is_ignored
                sources_do_not_disturb_each_other
                a_silent_source_is_forgotten
                the_sources_of_a_group_are_bounded
            }
            usage_days {
                uses_are_counted_by_hour_and_outcome
                a_late_batch_counts_for_its_own_hour
                a_repeated_batch_counts_once_by_day
                an_hour_to_come_counts_as_the_current_one
                a_day_is_kept_as_long_as_stated
                forgotten_days_do_not_pile_up
                keys_and_legacy_credentials_are_counted_apart_by_day
                namespaces_and_teams_are_counted_apart
                unknown_credentials_count_for_no_day
                days_outlive_their_credential
                only_the_days_that_are_asked_for_are_told
                counts_of_an_hour_stop_at_the_largest_number
            }
            legacy {
                an_imported_credential_works_until_the_sunset
                every_field_of_a_legacy_credential_is_kept
                a_replaced_legacy_credential_keeps_its_birth
                an_import_can_run_again
                a_blocked_credential_is_refused
                a_revoked_legacy_credential_never_comes_back
                a_stale_legacy_replacement_is_refused
                legacy_credentials_are_listed_page_by_page
            }
            policies {
                without_a_policy_the_default_holds
                an_override_holds_for_its_namespace_alone
                the_default_policy_is_read_by_itself
                an_override_is_not_told_to_another_team
                many_policies_are_told_in_the_order_of_the_question
                a_policy_can_be_taken_back
                every_field_of_a_policy_is_kept
                a_legacy_policy_has_its_own_overrides
                the_feed_tells_of_policies
                a_lowered_maximum_ends_existing_keys
                a_sunset_can_be_put_off
            }
        }
    };
}

/// Makes a test of every behaviour, each with a store of its own.
///
/// - `suite!(store)` runs each behaviour by [`keyfob::block_on`]
/// - `run = runner` runs it by `runner`, a function or closure that takes a future and runs it to
///   its end; the other expressions may then use `await`
/// - `reopen = |store| expression` closes the store and opens the same storage again after each
///   behaviour; everything that can be read must be as before
#[macro_export]
macro_rules! suite {
    (run = $run:expr, store = $store:expr $(,)?) => {
        $crate::for_each_behaviour!([$crate::__tests]($run)($store)());
    };
    (run = $run:expr, store = $store:expr, reopen = |$closed:ident| $opened:expr $(,)?) => {
        $crate::for_each_behaviour!([$crate::__tests]($run)($store)(|$closed| $opened));
    };
    (store = $store:expr, reopen = |$closed:ident| $opened:expr $(,)?) => {
        $crate::suite!(
            run = $crate::block_on,
            store = $store,
            reopen = |$closed| $opened,
        );
    };
    ($store:expr $(,)?) => {
        $crate::suite!(run = $crate::block_on, store = $store);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __tests {
    ([($run:expr) ($store:expr) $reopen:tt] $($module:ident { $($name:ident)* })*) => {
        $($(
            #[test]
            fn $name() {
                ($run)(async {
                    use $crate::AsStore as _;
                    let store = $store;
                    $crate::$module::$name(store.as_store()).await;
                    $crate::__reopen!(store $reopen);
                });
            }
        )*)*
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __reopen {
    ($store:ident ()) => {};
    ($store:ident (|$closed:ident| $opened:expr)) => {
        let contents = $crate::reopening::contents($store.as_store()).await;
        let $closed = $store;
        let opened = $opened;
        $crate::reopening::goes_on(opened.as_store(), &contents).await;
    };
}

/// What is, or dereferences to, a store.
#[doc(hidden)]
pub trait AsStore {
    fn as_store(&self) -> &dyn KeyStore;
}

impl<S: KeyStore> AsStore for S {
    fn as_store(&self) -> &dyn KeyStore {
        self
    }
}

/// A behaviour, as a value.
pub struct Behaviour {
    name: &'static str,
    play: for<'a> fn(&'a dyn KeyStore) -> Playing<'a>,
}

type Playing<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

impl Behaviour {
    /// The name of its function.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Plays it on an empty store; the future panics if the store does not show it.
    pub fn play<'a>(&self, store: &'a dyn KeyStore) -> Playing<'a> {
        (self.play)(store)
    }
}

impl fmt::Debug for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Behaviour").field(&self.name).finish()
    }
}

/// All behaviours.
pub fn behaviours() -> Vec<Behaviour> {
    macro_rules! values {
        ([] $($module:ident { $($name:ident)* })*) => {
            vec![$($(Behaviour {
                name: stringify!($name),
                play: |store| Box::pin($module::$name(store)),
            },)*)*]
        };
    }
    for_each_behaviour!([values])
}
