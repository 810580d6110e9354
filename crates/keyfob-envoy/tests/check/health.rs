//! The health service.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use keyfob_envoy::ExtAuthz;
use keyfob_gateway::http::Peers;
use keyfob_listen::Limits;
use tokio::time::timeout;
use tonic::{Code, transport::Endpoint};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::fixture::{Fixture, Served, serve_within};

fn of(service: &str) -> HealthCheckRequest {
    let service = service.to_owned();
    HealthCheckRequest { service }
}

#[tokio::test]
async fn the_health_is_that_of_the_replica() {
    let fixture = Fixture::new().await;
    let ready = Arc::new(AtomicBool::new(false));
    let is_ready = Arc::clone(&ready);
    let service = ExtAuthz::new(fixture.authorizer().build())
        .healthy_while(move || is_ready.load(Ordering::SeqCst));
    let served = Served::new(service).await;
    let mut client = HealthClient::new(served.channel.clone());
    let mut status = async |service: &str| {
        let answer = client.check(of(service)).await;
        answer.map(|answer| answer.into_inner().status())
    };
    let known = ["", "envoy.service.auth.v3.Authorization"];
    for service in known {
        assert_eq!(status(service).await.unwrap(), ServingStatus::NotServing);
    }
    ready.store(true, Ordering::SeqCst);
    for service in known {
        assert_eq!(status(service).await.unwrap(), ServingStatus::Serving);
    }
    assert_eq!(status("other").await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_change_of_the_health_is_told() {
    let fixture = Fixture::new().await;
    let ready = Arc::new(AtomicBool::new(true));
    let is_ready = Arc::clone(&ready);
    let service = ExtAuthz::new(fixture.authorizer().build())
        .healthy_while(move || is_ready.load(Ordering::SeqCst));
    let served = Served::new(service).await;
    let mut client = HealthClient::new(served.channel.clone());
    let mut watched = client.watch(of("")).await.unwrap().into_inner();
    let mut next = async || {
        let answer = timeout(Duration::from_secs(5), watched.message()).await;
        answer.unwrap().unwrap().unwrap().status()
    };
    assert_eq!(next().await, ServingStatus::Serving);
    ready.store(false, Ordering::SeqCst);
    assert_eq!(next().await, ServingStatus::NotServing);
    let mut other = client.watch(of("other")).await.unwrap().into_inner();
    let first = other.message().await.unwrap().unwrap();
    assert_eq!(first.status(), ServingStatus::ServiceUnknown);
}

#[tokio::test]
async fn the_health_is_told_to_configured_peers_only() {
    let fixture = Fixture::new().await;
    let service = ExtAuthz::new(fixture.authorizer().build()).with_peers(Peers::of([]));
    let served = Served::new(service).await;
    let mut client = HealthClient::new(served.channel.clone());
    let checked = client.check(of("")).await.unwrap_err();
    assert_eq!(checked.code(), Code::PermissionDenied);
    let watched = client.watch(of("other")).await.unwrap_err();
    assert_eq!(watched.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_watch_of_the_health_ends_when_the_server_stops_or_others_wait_for_room() {
    let fixture = Fixture::new().await;
    let service = ExtAuthz::new(fixture.authorizer().build());
    let limits = Limits::default().with_connections(NonZeroU32::MIN);
    let (socket, stop) = serve_within(service, limits).await;
    let endpoint = Endpoint::from_shared(format!("http://{socket}")).unwrap();
    let watch = async |service: &str| {
        let mut client = HealthClient::new(endpoint.connect().await.unwrap());
        let mut watched = client.watch(of(service)).await.unwrap().into_inner();
        watched.message().await.unwrap().unwrap();
        watched
    };
    // The second one has the place of the first.
    let mut first = watch("other").await;
    let mut second = timeout(Duration::from_secs(9), watch("")).await.unwrap();
    assert!(first.message().await.unwrap().is_none());
    drop(stop);
    let ended = timeout(Duration::from_secs(3), second.message()).await;
    assert!(ended.unwrap().unwrap().is_none());
}
