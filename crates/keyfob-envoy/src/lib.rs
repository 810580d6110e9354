#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod answer;
mod health;
mod message;
mod question;
mod service;

pub use service::ExtAuthz;
