//! Readiness over HTTP.

use axum::{Router, http::StatusCode, routing::get};

use crate::{
    Monitor, Replica,
    clock::{AHEAD, BEHIND, ClockFault},
};

impl Replica {
    /// The route `/readyz`: 200 if calls are decided, 503 if all are refused. The text also says what
    /// is wrong with the system's clock.
    pub fn readyz<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        let monitor = self.monitor();
        Router::new().route("/readyz", get(async move || answer(&monitor)))
    }
}

fn answer(monitor: &Monitor) -> (StatusCode, String) {
    if !monitor.is_ready() {
        let text = "the store could not be read for too long\n";
        return (StatusCode::SERVICE_UNAVAILABLE, text.to_owned());
    }
    let mut text = String::from("ready\n");
    let ClockFault { ahead, behind } = monitor.clock_fault();
    for (distance, fault) in [(ahead, AHEAD), (behind, BEHIND)] {
        if !distance.is_zero() {
            let seconds = distance.as_secs();
            text += &[
                "warning: by ",
                &seconds.to_string(),
                " seconds, ",
                fault,
                "\n",
            ]
            .concat();
        }
    }
    (StatusCode::OK, text)
}
