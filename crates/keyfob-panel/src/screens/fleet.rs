//! The gateways that this process feeds.

use askama::Template;
use axum::http::StatusCode;
use serde::Deserialize;

use crate::{
    shell::{Section, Shell},
    time::Moment,
    visit::{Answer, Visit, page},
};

/// What the control plane says of the replicas.
#[derive(Debug, Deserialize)]
struct Fleet {
    revision: u64,
    replicas: Vec<Replica>,
}

#[derive(Debug, Deserialize)]
struct Replica {
    name: String,
    version: String,
    reads: String,
    behind: Option<u64>,
    lag_ms: u64,
    bound_ms: Option<u64>,
    reported_at: Moment,
    age_ms: u64,
    refused: u64,
}

impl Replica {
    fn lag(&self) -> String {
        seconds(self.lag_ms)
    }

    fn bound(&self) -> String {
        self.bound_ms.map(seconds).unwrap_or_default()
    }

    /// How much of the bound its index had used up, in percent.
    fn share(&self) -> u64 {
        let bound = self.bound_ms.unwrap_or(60_000).max(1);
        (self.lag_ms.saturating_mul(100) / bound).min(100)
    }

    fn state(&self) -> (&'static str, &'static str) {
        if self.age_ms > 30_000 {
            ("off", "Silent")
        } else if self.share() >= 100 || self.behind.is_none() {
            ("bad", "Refuses calls")
        } else if self.share() >= 50 {
            ("warn", "Falls behind")
        } else {
            ("good", "Up to date")
        }
    }
}

/// A short time in seconds.
fn seconds(milliseconds: u64) -> String {
    format!("{}.{} s", milliseconds / 1_000, milliseconds % 1_000 / 100)
}

#[derive(Template)]
#[template(path = "fleet.html")]
struct Screen {
    shell: Shell,
    fleet: Option<Fleet>,
    now: Moment,
}

pub(crate) async fn show(visit: Visit) -> Answer {
    let fleet = match visit.api.get("/v1/fleet").await {
        Ok(fleet) => Some(fleet),
        Err(refused) if refused.status == StatusCode::NOT_FOUND => None,
        Err(refused) => return Err(refused.into()),
    };
    Ok(page(&Screen {
        shell: Shell::of(&visit, "Fleet", Section::Fleet),
        fleet,
        now: visit.now,
    }))
}
