//! Commits: one at a time, each in one transaction.

use std::time::Instant;

use keyfob::key::KeyFormat;
use keyfob::store::{Commit, CommitError, Conflict, Revision, StoreError};

use tokio_postgres::types::Json;

use crate::{
    DatabaseError,
    retry::Backoff,
    row::Columns,
    session::{Kept, Step, values},
    snapshot::{read_set, revision, snapshot},
    sql,
    store::{Inner, TRIES},
    write::writes,
};

/// Why one try of a commit came to nothing.
enum Failure {
    Conflict(Conflict),
    /// Nothing was kept.
    Before(DatabaseError),
    /// The answer to `COMMIT` was lost.
    At(Mark, DatabaseError),
}

/// What a commit is found by whose answer was lost.
struct Mark {
    revision: Revision,
    attempt: [u8; 16],
}

impl From<DatabaseError> for Failure {
    fn from(error: DatabaseError) -> Self {
        Self::Before(error)
    }
}

impl Inner {
    pub(crate) async fn commit(&self, commit: &Commit) -> Result<Revision, CommitError> {
        let _turn = self.turn().await.map_err(StoreError::definite)?;
        let mut backoff = Backoff::default();
        let mut tries = 0;
        loop {
            tries += 1;
            let error = match self.try_commit(commit).await {
                Ok(revision) => return Ok(revision),
                Err(Failure::Conflict(conflict)) => return Err(conflict.into()),
                Err(Failure::Before(error)) => error,
                Err(Failure::At(mark, error)) => match self.was_kept(&mark).await {
                    Some(true) => return Ok(mark.revision),
                    Some(false) => error,
                    None => return Err(StoreError::unknown(error).into()),
                },
            };
            if tries == TRIES || !error.is_passing() {
                return Err(StoreError::definite(error).into());
            }
            tracing::debug!(%error, tries, "a commit is tried again");
            backoff.wait().await;
        }
    }

    /// Two flights of statements: the first locks the log and answers the questions, the second
    /// writes and commits.
    async fn try_commit(&self, commit: &Commit) -> Result<Revision, Failure> {
        let mut session = self.session().await?;
        let asked = read_set(commit);
        let flown = session.fly(Some(sql::BEGIN), &asked, None).await?;
        let judged = flown
            .rows()
            .and_then(|answers| snapshot(commit, answers))
            .map_err(Failure::from)
            .and_then(|(snapshot, attempt)| match commit.decide(&snapshot) {
                Ok(write) => Ok((write, attempt)),
                Err(conflict) => Err(Failure::Conflict(conflict)),
            });
        let (write, attempt) = match judged {
            Ok(judged) => judged,
            Err(failure) => {
                session.roll_back().await;
                return Err(failure);
            }
        };
        let steps = match writes(commit, &write, attempt) {
            Ok(steps) => steps,
            Err(error) => {
                session.roll_back().await;
                return Err(error.into());
            }
        };
        let flown = session.fly(None, &steps, Some(sql::COMMIT)).await?;
        let revision = write.revision;
        match flown.kept() {
            Kept::Yes => Ok(revision),
            Kept::No(error) => Err(Failure::Before(error)),
            Kept::Unknown(error) => Err(Failure::At(Mark { revision, attempt }, error)),
        }
    }

    /// Records the format of the keys unless one is recorded, and returns the one that is: one
    /// statement, which has the same outcome however often it is tried.
    pub(crate) async fn record_key_format(
        &self,
        format: &KeyFormat,
    ) -> Result<KeyFormat, StoreError> {
        let set = || async {
            let mut session = self.session().await?;
            let step = Step::new(sql::SET_KEY_FORMAT, values![Json(format)]);
            let rows = session.rows(step).await?;
            match rows.first() {
                Some(row) => Columns::of(row).json(),
                None => Err(DatabaseError::other("the head of the log is missing")),
            }
        };
        self.retried(set).await.map_err(StoreError::unknown)
    }

    /// Whether the commit with this mark was kept; none if that cannot be found out in time.
    ///
    /// Whoever has the lock of the log knows that the transaction in question has ended: it had
    /// the lock before.
    async fn was_kept(&self, mark: &Mark) -> Option<bool> {
        let until = Instant::now() + self.settling;
        let mut backoff = Backoff::default();
        loop {
            match self.look_for(mark).await {
                Ok(kept) => return Some(kept),
                Err(error) if Instant::now() < until => {
                    tracing::debug!(%error, "the answer to a commit is looked for");
                    backoff.wait().await;
                }
                Err(_) => return None,
            }
        }
    }

    async fn look_for(&self, mark: &Mark) -> Result<bool, DatabaseError> {
        let mut session = self.session().await?;
        let steps = [
            Step::new(sql::LOCK_LOG, values![]),
            Step::new(sql::ATTEMPT_AT, values![revision(mark.revision)]),
        ];
        let flown = session.fly(Some(sql::BEGIN), &steps, Some(sql::ROLLBACK));
        let rows = flown.await?.rows()?.nth(1).unwrap_or_default();
        let attempt = rows.first().map(|row| Columns::of(row).attempt());
        Ok(attempt.transpose()? == Some(mark.attempt))
    }
}
