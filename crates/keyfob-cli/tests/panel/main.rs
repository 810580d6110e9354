//! The control panel in a browser, against the program with a store on `SQLite`.
//!
//! It needs Chromium, and Node.js with npm: the driver and the checker of accessibility are installed
//! in the target folder. Without them the tests print a message and pass; with `CI=true` they fail.

mod assets;
mod browser;
mod many;
mod server;

use std::path::Path;

use browser::Browser;
use server::Server;

/// Plays a scene of `browser/scenes` against a server of its own.
fn play(scene: &str) {
    play_over(scene, |_| {});
}

/// Plays it after the store in the folder was prepared.
fn play_over(scene: &str, prepare: impl FnOnce(&Path)) {
    let Some(browser) = Browser::get() else {
        return;
    };
    let server = Server::start(prepare);
    browser.play(scene, &server);
}

#[test]
fn the_fleet_shows_a_gateway_and_how_old_its_index_is() {
    let Some(browser) = Browser::get() else {
        return;
    };
    browser.play("fleet", &Server::start_with_feed());
}

#[test]
fn a_new_operator_has_a_first_key_within_a_minute() {
    play("first");
}

#[test]
fn a_key_is_created_rotated_and_revoked_with_the_keyboard_alone() {
    play("keyboard");
}

#[test]
fn what_is_empty_wrong_or_refused_is_said() {
    play("states");
}

#[test]
fn long_words_fit_on_the_first_six_screens() {
    play("long");
}

#[test]
fn a_key_lives_from_its_form_to_its_revocation() {
    play("life");
}

#[test]
fn a_person_leaves_after_a_preview_and_can_be_restored() {
    play("leave");
}

#[test]
fn shared_credentials_are_cut_off_and_accepted_again() {
    play("migration");
}

#[test]
fn teams_and_members_see_what_is_theirs() {
    play("teams");
}

#[test]
fn a_session_ends_with_its_key() {
    play("session");
}

#[test]
fn other_sites_can_neither_act_nor_frame() {
    play("sites");
}

#[test]
fn hostile_names_are_only_text() {
    play("hostile");
}

#[test]
fn ten_thousand_keys_are_searched_and_paged() {
    play_over("many", many::create);
}

#[test]
fn the_first_six_screens_work_without_script() {
    play("plain");
}

#[test]
fn the_other_screens_work() {
    play("rest");
}

#[test]
fn a_violation_of_the_content_security_policy_is_caught() {
    play("violation");
}
