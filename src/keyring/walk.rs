//! Iteration over the pages of a query.

use alloc::{
    boxed::Box,
    vec::{self, Vec},
};

use async_trait::async_trait;

use crate::{
    audit::AuditEvent,
    keyring::{Error, Keyring},
    legacy::LegacyUse,
    record::KeyInfo,
    store::{AuditQuery, Cursor, KeyQuery, LegacyQuery, NamespaceQuery, NamespaceRecord, Page},
};

/// A query with pages, for [`Keyring::walk`].
#[async_trait]
pub trait Query: Send + private::Sealed {
    /// The type of the items that the query selects.
    type Item: Send;

    /// Reads the page at the query's cursor.
    #[doc(hidden)]
    async fn page(&self, keyring: &Keyring) -> Result<Page<Self::Item>, Error>;

    /// Sets the query's cursor.
    #[doc(hidden)]
    fn move_to(&mut self, next: Cursor);
}

mod private {
    pub trait Sealed {}
}

macro_rules! query {
    ($query:ty, $item:ty, $list:ident) => {
        impl private::Sealed for $query {}

        #[async_trait]
        impl Query for $query {
            type Item = $item;

            async fn page(&self, keyring: &Keyring) -> Result<Page<$item>, Error> {
                keyring.$list(self).await
            }

            fn move_to(&mut self, next: Cursor) {
                self.after = Some(next);
            }
        }
    };
}

query!(KeyQuery, KeyInfo, list);
query!(LegacyQuery, LegacyUse, legacy_report);
query!(NamespaceQuery, NamespaceRecord, namespaces);
query!(AuditQuery, AuditEvent, audit);

/// An asynchronous iterator over the items of a query: see [`Keyring::walk`].
#[derive(Debug)]
pub struct Walk<'k, Q: Query> {
    keyring: &'k Keyring,
    /// `None` after the last page.
    query: Option<Q>,
    page: vec::IntoIter<Q::Item>,
}

impl<Q: Query> Walk<'_, Q> {
    /// Returns the next item, or `None` at the end. After an error, the next call retries the same
    /// page.
    ///
    /// # Errors
    ///
    /// The store failed -> [`Error::Store`].
    pub async fn next(&mut self) -> Result<Option<Q::Item>, Error> {
        loop {
            if let Some(item) = self.page.next() {
                return Ok(Some(item));
            }
            match self.next_page().await? {
                Some(page) => self.page = page.into_iter(),
                None => return Ok(None),
            }
        }
    }

    /// Returns the rest of the current page or the next page, or `None` at the end.
    ///
    /// # Errors
    ///
    /// The store failed -> [`Error::Store`].
    pub async fn next_page(&mut self) -> Result<Option<Vec<Q::Item>>, Error> {
        if !self.page.as_slice().is_empty() {
            return Ok(Some(core::mem::take(&mut self.page).collect()));
        }
        let Some(query) = &mut self.query else {
            return Ok(None);
        };
        let page = query.page(self.keyring).await?;
        match page.next {
            Some(next) => query.move_to(next),
            None => self.query = None,
        }
        Ok(Some(page.items))
    }
}

impl Keyring {
    /// Iterates over all items that a query selects, reading page by page; the query's limit is the
    /// page size. A [`KeyQuery`] yields [`KeyInfo`], a [`LegacyQuery`] [`LegacyUse`], a
    /// [`NamespaceQuery`] [`NamespaceRecord`] and an [`AuditQuery`] [`AuditEvent`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use keyfob::{Keyring, manage::Error, name::TeamId, store::KeyQuery};
    /// # async fn show(keyring: &Keyring, team: TeamId) -> Result<(), Error> {
    /// let mut names = Vec::new();
    /// let mut keys = keyring.walk(KeyQuery::team(team));
    /// while let Some(key) = keys.next().await? {
    ///     names.push(key.name);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn walk<Q: Query>(&self, query: Q) -> Walk<'_, Q> {
        Walk {
            keyring: self,
            query: Some(query),
            page: Vec::new().into_iter(),
        }
    }
}
