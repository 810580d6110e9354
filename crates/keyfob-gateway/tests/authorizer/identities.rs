//! Signed identities, verified by an independent library.

use std::time::Duration;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation, decode, decode_header,
    jwk::{AlgorithmParameters, JwkSet},
};
use keyfob::{NewKey, Ttl};
use keyfob_gateway::{IdentitySigner, Question, SignerError, field};
use serde_json::Value;

use crate::fixture::{Fixture, ask, field, now};

const ORDERS: &[u8] = b"/api/v1/namespaces/orders";

/// A new private key in PEM.
fn pem() -> String {
    let random = ring::rand::SystemRandom::new();
    let der = ring::signature::Ed25519KeyPair::generate_pkcs8(&random).unwrap();
    let kind = "PRIVATE KEY";
    let text = STANDARD.encode(der.as_ref());
    format!("-----BEGIN {kind}-----\n{text}\n-----END {kind}-----\n")
}

/// The claims of a token that one of the published keys signed.
fn verified(token: &str, jwks: &str, audience: &str) -> Result<Value, jsonwebtoken::errors::Error> {
    let keys: JwkSet = serde_json::from_str(jwks).unwrap();
    let id = decode_header(token)?.kid.expect("it names its key");
    let key = keys.find(&id).expect("the key is published");
    assert!(matches!(
        key.algorithm,
        AlgorithmParameters::OctetKeyPair(_)
    ));
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.leeway = 0;
    validation.set_issuer(&["gateway.test"]);
    validation.set_audience(&[audience]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    Ok(decode(token, &DecodingKey::from_jwk(key)?, &validation)?.claims)
}

#[test]
fn the_upstream_verifies_who_sent_a_request() {
    let fixture = Fixture::new();
    let key = fixture.key("orders");
    let signer = IdentitySigner::from_pem(pem().as_bytes()).unwrap();
    let signer = signer
        .with_issuer("gateway.test")
        .with_audience("orders.test".to_owned());
    let authorizer = fixture.builder().signer(signer).build();
    let jwks = authorizer.jwks().unwrap();
    let answer = ask(&authorizer, ORDERS, &key);
    let token = field(&answer, field::TOKEN).unwrap();
    let claims = verified(&token, &jwks, "orders.test").unwrap();
    for (claim, name) in [
        ("sub", field::OWNER),
        ("key_id", field::KEY_ID),
        ("team", field::TEAM),
        ("namespace", field::NAMESPACE),
        ("scope", field::SCOPES),
    ] {
        assert_eq!(claims[claim], *field(&answer, name).unwrap(), "{claim}");
    }
    let validity = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert_eq!(validity, 60);

    // Another audience, another signer, and another content.
    assert!(verified(&token, &jwks, "billing.test").is_err());
    let stranger = IdentitySigner::from_pem(pem().as_bytes()).unwrap();
    let forged = stranger.jwks().replace(&kid(&stranger.jwks()), &kid(&jwks));
    assert!(verified(&token, &forged, "orders.test").is_err());
    let mut parts: Vec<&str> = token.split('.').collect();
    let other = field(
        &ask(&authorizer, ORDERS, &fixture.key("orders")),
        field::TOKEN,
    )
    .unwrap();
    parts[1] = other.split('.').nth(1).unwrap();
    assert!(verified(&parts.join("."), &jwks, "orders.test").is_err());
}

fn kid(jwks: &str) -> String {
    let keys: Value = serde_json::from_str(jwks).unwrap();
    keys["keys"][0]["kid"].as_str().unwrap().to_owned()
}

#[test]
fn no_token_is_valid_beyond_the_key() {
    let fixture = Fixture::new();
    let new = NewKey::for_user("team", "orders", "alice", "brief").unwrap();
    let brief = fixture.create(new.expires_in(Ttl::hours(1).unwrap()));
    let expires = now().plus_seconds(3_600);
    let signer = IdentitySigner::from_pem(pem().as_bytes()).unwrap();
    let authorizer = fixture.builder().signer(signer).build();
    let fields = [brief.as_bytes()];
    let question = Question::of_request(ORDERS, &fields);
    let exp = |at| {
        let answer = authorizer.decide(&question, at);
        let token = field(&answer, field::TOKEN).unwrap();
        let claims = token.split('.').nth(1).unwrap();
        let claims = URL_SAFE_NO_PAD.decode(claims).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        claims["exp"].as_i64().unwrap()
    };
    let start = now();
    assert_eq!(exp(start), start.as_unix() + 60);
    // Made again only when it is a few seconds old.
    assert_eq!(exp(start.plus_seconds(10)), start.as_unix() + 60);
    assert_eq!(exp(start.plus_seconds(11)), start.as_unix() + 71);
    let last = start.plus_seconds(3_590);
    assert!(exp(last) <= expires.as_unix());
}

#[test]
fn an_answer_may_not_be_used_again_beyond_its_token() {
    let fixture = Fixture::new();
    let key = fixture.key("orders");
    let signer = IdentitySigner::from_pem(pem().as_bytes()).unwrap();
    let builder = fixture.builder().max_age(Duration::from_secs(55));
    let authorizer = builder.signer(signer).build();
    let fields = [key.as_bytes()];
    let question = Question::of_request(ORDERS, &fields);
    let start = now();
    // The token of the second answer is that of the first.
    for (seconds, age) in [(0, 55), (10, 49), (11, 55)] {
        let answer = authorizer.decide(&question, start.plus_seconds(seconds));
        let expected = format!("max-age={age}");
        assert_eq!(field(&answer, "cache-control"), Some(expected));
    }
}

#[test]
fn every_key_is_published_and_the_first_one_signs() {
    let (old, new) = (pem(), pem());
    let before = IdentitySigner::from_pem(old.as_bytes()).unwrap();
    let both = IdentitySigner::from_pem([new.clone(), old].concat().as_bytes()).unwrap();
    let keys: Value = serde_json::from_str(&both.jwks()).unwrap();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 2);
    assert_eq!(keys["keys"][1]["kid"], *kid(&before.jwks()));
    let after = IdentitySigner::from_pem(new.as_bytes()).unwrap();
    assert_eq!(kid(&both.jwks()), kid(&after.jwks()));
    assert!(!both.jwks().contains("\"d\""));
}

#[test]
fn what_is_no_key_is_refused_without_repeating_it() {
    let other = "-----BEGIN PRIVATE KEY-----\nY29uZmlkZW50aWFs\n-----END PRIVATE KEY-----\n";
    for (text, error) in [
        ("", SignerError::Pem),
        ("confidential", SignerError::Pem),
        (other, SignerError::Algorithm),
    ] {
        let failed = IdentitySigner::from_pem(text.as_bytes()).unwrap_err();
        assert_eq!(failed, error);
        assert!(!failed.to_string().contains("onfidential"));
    }
    let signer = IdentitySigner::from_pem(pem().as_bytes()).unwrap();
    assert!(format!("{signer:?}").starts_with("IdentitySigner { keys: [\""));
}
