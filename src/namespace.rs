//! A namespace to create.

use crate::{
    identity::Tenant,
    name::{NamespaceLabel, Region},
};

/// A namespace to create, and what people call it.
///
/// A [`Tenant`] converts into one without a label and a region.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct NewNamespace {
    /// The namespace and its team.
    pub tenant: Tenant,
    /// What people call it. It need not be unique.
    pub label: Option<NamespaceLabel>,
    /// Where it runs.
    pub region: Option<Region>,
}

impl NewNamespace {
    /// A namespace without a label and a region.
    pub fn new(tenant: Tenant) -> Self {
        Self {
            tenant,
            label: None,
            region: None,
        }
    }

    /// With this label.
    #[must_use]
    pub fn with_label(mut self, label: NamespaceLabel) -> Self {
        self.label = Some(label);
        self
    }

    /// With this region.
    #[must_use]
    pub fn with_region(mut self, region: Region) -> Self {
        self.region = Some(region);
        self
    }
}

impl From<Tenant> for NewNamespace {
    fn from(tenant: Tenant) -> Self {
        Self::new(tenant)
    }
}
