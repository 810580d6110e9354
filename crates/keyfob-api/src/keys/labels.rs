//! Labels in bodies, and those that Keyfob keeps for itself.

use std::collections::BTreeMap;

use keyfob::{
    manage::Labels,
    name::{LabelName, LabelValue},
};

use crate::refusal::Refusal;

/// The beginning of the labels that Keyfob keeps for itself: they are not shown and cannot be set.
const RESERVED: &str = "keyfob/";

fn is_reserved(name: &LabelName) -> bool {
    name.as_str().starts_with(RESERVED)
}

/// Reads the labels of a body.
pub(crate) fn parse_labels(labels: &BTreeMap<String, String>) -> Result<Labels, Refusal> {
    labels
        .iter()
        .try_fold(Labels::new(), |labels, (name, value)| {
            let name = LabelName::new(name)?;
            if is_reserved(&name) {
                return Err(Refusal::bad_request(
                    "labels: names that begin with keyfob/ are reserved",
                ));
            }
            Ok(labels.with(name, LabelValue::new(value)?)?)
        })
}

/// The labels as a body shows them.
pub(crate) fn visible(labels: &Labels) -> BTreeMap<String, String> {
    labels
        .iter()
        .filter(|(name, _)| !is_reserved(name))
        .map(|(name, value)| (name.as_str().to_owned(), value.as_str().to_owned()))
        .collect()
}

/// These labels, and the reserved ones of `old`.
pub(crate) fn with_reserved(labels: Labels, old: &Labels) -> Result<Labels, Refusal> {
    add(labels, old, is_reserved)
}

/// The labels without the reserved ones.
pub(crate) fn without_reserved(labels: &Labels) -> Result<Labels, Refusal> {
    add(Labels::new(), labels, |name| !is_reserved(name))
}

fn add(to: Labels, from: &Labels, which: impl Fn(&LabelName) -> bool) -> Result<Labels, Refusal> {
    let mut chosen = from.iter().filter(|(name, _)| which(name));
    Ok(chosen.try_fold(to, |labels, (name, value)| {
        labels.with(name.clone(), value.clone())
    })?)
}
