//! The health service of gRPC.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use keyfob_listen::Leaving;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tonic::{Request, Response, Status, codegen::tokio_stream::Stream};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_server,
};

pub(crate) type IsReady = dyn Fn() -> bool + Send + Sync;

/// Says whether calls are decided.
#[derive(Clone)]
pub(crate) struct Health(pub(crate) Arc<IsReady>);

impl Health {
    fn status(&self) -> ServingStatus {
        if (self.0)() {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        }
    }
}

#[tonic::async_trait]
impl health_server::Health for Health {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if !is_known(&request.get_ref().service) {
            return Err(Status::not_found("there is no service of this name"));
        }
        Ok(Response::new(answer(self.status())))
    }

    type WatchStream = Watch;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Watch>, Status> {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // It must not keep a connection that has to end.
        let leaving = request.extensions().get::<Leaving>().cloned();
        Ok(Response::new(Watch {
            ends: Box::pin(async {
                match leaving {
                    Some(leaving) => leaving.wait().await,
                    None => std::future::pending().await,
                }
            }),
            health: self.clone(),
            is_known: is_known(&request.get_ref().service),
            last: None,
            ticks,
        }))
    }
}

fn is_known(service: &str) -> bool {
    matches!(service, "" | "envoy.service.auth.v3.Authorization")
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    let status = status.into();
    HealthCheckResponse { status }
}

/// The status, and each change of it, until the connection has to end.
pub(crate) struct Watch {
    ends: Pin<Box<dyn Future<Output = ()> + Send>>,
    health: Health,
    is_known: bool,
    last: Option<ServingStatus>,
    ticks: Interval,
}

impl Stream for Watch {
    type Item = Result<HealthCheckResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ends.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        loop {
            ready!(self.ticks.poll_tick(cx));
            let now = if self.is_known {
                self.health.status()
            } else {
                ServingStatus::ServiceUnknown
            };
            if self.last.replace(now) != Some(now) {
                return Poll::Ready(Some(Ok(answer(now))));
            }
        }
    }
}

const LOOK_EVERY: Duration = Duration::from_millis(500);
