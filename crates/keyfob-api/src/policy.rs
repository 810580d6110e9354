//! What keys may be made: of a namespace, and by default.

pub(crate) mod of_all;
pub(crate) mod of_namespace;

mod view;

pub(crate) use view::{PolicyView, SetPolicy, ShownPolicy, nowhere};
