#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

// What stands before the screens.
mod assets;
mod client;
mod frame;
mod panel;
mod same_origin;
mod session;
mod visit;

// What the screens are made of.
mod chart;
mod form;
mod names;
mod secret_text;
mod shell;
mod time;
mod wire;

mod screens;

pub use panel::Panel;
