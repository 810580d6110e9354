//! The control plane over a store in memory, asked as its clients ask it.

mod authority;
mod document;
mod fixture;
mod keys;
