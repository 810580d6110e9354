//! Commits: serialized, each in one transaction.

use std::time::Instant;

use keyfob::key::KeyFormat;
use keyfob::store::{Commit, CommitError, Conflict, Revision, StoreError};

use backon::{BackoffBuilder, Retryable};
use tokio::time::sleep;
use tokio_postgres::types::Json;

use crate::{
    DatabaseError, retry,
    row::{self, number},
    session::{Kept, Step, values},
    snapshot::{questions, snapshot},
    sql,
    store::Inner,
    write::writes,
};

/// Why one try of a commit failed.
enum Failure {
    Conflict(Conflict),
    /// Nothing was kept.
    Before(DatabaseError),
    /// The answer to `COMMIT` was lost.
    At(Mark, DatabaseError),
}

/// Identifies a commit whose answer was lost.
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
        let mut pauses = retry::call().build();
        loop {
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
            match pauses.next() {
                Some(pause) if error.is_passing() => {
                    tracing::debug!(%error, "a commit is tried again");
                    sleep(pause).await;
                }
                _ => return Err(StoreError::definite(error).into()),
            }
        }
    }

    /// Two pipelines of statements: the first locks the log and answers the read set, the second
    /// writes and commits.
    async fn try_commit(&self, commit: &Commit) -> Result<Revision, Failure> {
        let mut session = self.session().await?;
        let (asked, answers): (Vec<_>, Vec<_>) = questions(commit).into_iter().unzip();
        let sent = session.pipeline(Some(sql::BEGIN), &asked, None).await?;
        let decided = sent
            .rows()
            .and_then(|rows| snapshot(&answers, rows))
            .map_err(Failure::from)
            .and_then(|(snapshot, attempt)| match commit.decide(&snapshot) {
                Ok(write_set) => Ok((write_set, attempt)),
                Err(conflict) => Err(Failure::Conflict(conflict)),
            });
        let (write_set, attempt) = match decided {
            Ok(decided) => decided,
            Err(failure) => {
                session.roll_back().await;
                return Err(failure);
            }
        };
        let steps = match writes(&write_set, attempt) {
            Ok(steps) => steps,
            Err(error) => {
                session.roll_back().await;
                return Err(error.into());
            }
        };
        let sent = session.pipeline(None, &steps, Some(sql::COMMIT)).await?;
        let revision = write_set.revision;
        match sent.kept() {
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
                Some(row) => row::json(row, 0),
                None => Err(DatabaseError::other("the head of the log is missing")),
            }
        };
        self.retried(set).await.map_err(StoreError::unknown)
    }

    /// Whether the commit with this mark was kept; `None` if that cannot be found out in time.
    ///
    /// Once this has the lock of the log, the transaction in question has ended, since it held the
    /// lock.
    async fn was_kept(&self, mark: &Mark) -> Option<bool> {
        let until = Instant::now() + self.settling;
        let look = || self.look_for(mark);
        look.retry(retry::call().without_max_times())
            .when(|_| Instant::now() < until)
            .notify(|error, _| tracing::debug!(%error, "the answer to a commit is looked for"))
            .await
            .ok()
    }

    async fn look_for(&self, mark: &Mark) -> Result<bool, DatabaseError> {
        let mut session = self.session().await?;
        let steps = [
            Step::new(sql::LOCK_LOG, values![]),
            Step::new(sql::ATTEMPT_AT, values![number(mark.revision.get())]),
        ];
        // Not rolled back: a synchronous standby confirms the end of this transaction, and with it
        // the commit, which may be here without having reached the standby.
        let sent = session.pipeline(Some(sql::BEGIN), &steps, Some(sql::COMMIT));
        let rows = sent.await?.rows()?.nth(1).unwrap_or_default();
        let attempt = rows.first().map(|row| row::bytes(row, 0));
        Ok(attempt.transpose()? == Some(mark.attempt))
    }
}
