//! One call's use of a connection.

use std::{future::Future, pin::Pin, task::Poll, time::Duration};

use deadpool_postgres::{Object, Pool};
use tokio::time::timeout;
use tokio_postgres::{Row, Statement, types::ToSql};

use crate::{
    DatabaseError,
    row::Result,
    sql::{self, Sql},
};

/// A value for a statement.
pub(crate) type Value<'a> = Box<dyn ToSql + Send + Sync + 'a>;

/// Boxes the values for a statement.
macro_rules! values {
    ($($value:expr),* $(,)?) => {
        vec![$(Box::new($value) as $crate::session::Value<'_>),*]
    };
}
pub(crate) use values;

/// A connection that one call uses. If the call leaves it in the middle of a transaction, by an
/// error or because the future was dropped, it does not go back to the pool: it is closed, which
/// ends the transaction.
pub(crate) struct Session {
    client: Option<Object>,
    /// Whether no transaction is open.
    at_rest: bool,
    /// How long the server may take to answer.
    patience: Duration,
}

/// A statement with its values.
pub(crate) struct Step<'a> {
    pub(crate) sql: Sql,
    pub(crate) values: Vec<Value<'a>>,
}

impl<'a> Step<'a> {
    pub(crate) fn new(sql: Sql, values: Vec<Value<'a>>) -> Self {
        Self { sql, values }
    }
}

impl Session {
    pub(crate) async fn of(pool: &Pool, patience: Duration) -> Result<Self> {
        Ok(Self {
            client: Some(pool.get().await?),
            at_rest: true,
            patience,
        })
    }

    /// The rows of one statement, in a transaction of its own.
    pub(crate) async fn rows(&mut self, step: Step<'_>) -> Result<Vec<Row>> {
        let statement = self.prepare(step.sql).await?;
        let client = self.client()?;
        let answer = timeout(self.patience, async {
            client.query(&statement, &borrowed(&step.values)).await
        });
        let Ok(rows) = answer.await else {
            self.discard();
            return Err(DatabaseError::late());
        };
        Ok(rows?)
    }

    /// Sends statements in a pipeline, without waiting in between, and returns the answer to each.
    /// `before` and `after` begin and end a transaction; without `after` it stays open.
    ///
    /// # Errors
    ///
    /// A statement could not be sent, and neither was `after`; or the transaction was not begun.
    pub(crate) async fn pipeline(
        &mut self,
        before: Option<&'static str>,
        steps: &[Step<'_>],
        after: Option<&'static str>,
    ) -> Result<Pipelined> {
        let mut statements = Vec::with_capacity(steps.len());
        for step in steps {
            statements.push(self.prepare(step.sql).await?);
        }
        self.at_rest = false;
        let patience = self.patience;
        let client = self.client()?;
        let mut requests: Vec<Request<'_>> = Vec::with_capacity(steps.len() + 2);
        requests.extend(before.map(|text| plain(client, text)));
        for (step, statement) in steps.iter().zip(&statements) {
            requests.push(prepared(client, statement, &step.values));
        }
        requests.extend(after.map(|text| plain(client, text)));
        let Ok(answers) = timeout(patience, in_order(requests)).await else {
            let (answers, ended) = (Vec::new(), Err(DatabaseError::late()));
            return Ok(Pipelined { answers, ended });
        };
        let mut answers = answers?;
        let ended = match after.and_then(|_| answers.pop()) {
            Some(Ok(_)) => {
                self.at_rest = true;
                Ok(())
            }
            Some(Err(error)) => Err(error.into()),
            None => Ok(()),
        };
        if before.is_some() {
            answers.remove(0)?;
        }
        Ok(Pipelined { answers, ended })
    }

    /// Rolls the transaction back.
    pub(crate) async fn roll_back(mut self) {
        let Ok(client) = self.client() else { return };
        let answer = timeout(self.patience, client.batch_execute(sql::ROLLBACK)).await;
        self.at_rest = matches!(answer, Ok(Ok(())));
    }

    async fn prepare(&mut self, sql: Sql) -> Result<Statement> {
        let patience = self.patience;
        let preparing = self.client()?.prepare_cached(sql.text());
        let Ok(statement) = timeout(patience, preparing).await else {
            self.discard();
            return Err(DatabaseError::late());
        };
        Ok(statement?)
    }

    fn client(&self) -> Result<&Object> {
        self.client.as_ref().ok_or_else(DatabaseError::late)
    }

    fn discard(&mut self) {
        drop(self.client.take().map(Object::take));
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.at_rest {
            self.discard();
        }
    }
}

/// The outcome of a pipeline.
pub(crate) struct Pipelined {
    answers: Vec<Answer>,
    /// Whether the transaction was ended as requested.
    ended: Result<()>,
}

impl Pipelined {
    /// The rows of each statement.
    ///
    /// # Errors
    ///
    /// The first error, of a statement or of the end of the transaction.
    pub(crate) fn rows(self) -> Result<impl Iterator<Item = Vec<Row>>> {
        let rows: std::result::Result<Vec<_>, _> = self.answers.into_iter().collect();
        let rows = rows?;
        self.ended?;
        Ok(rows.into_iter())
    }

    /// Whether the transaction was committed.
    pub(crate) fn kept(self) -> Kept {
        let refusal = self.answers.into_iter().find_map(std::result::Result::err);
        match (refusal.map(DatabaseError::from), self.ended) {
            (None, Ok(())) => Kept::Yes,
            // The server answers COMMIT of a failed transaction by rolling it back, without error.
            (Some(error), Ok(())) => Kept::No(error),
            (Some(error), Err(_)) if !error.is_lost() => Kept::No(error),
            (_, Err(error)) => Kept::Unknown(error),
        }
    }
}

/// Whether a transaction was kept.
pub(crate) enum Kept {
    Yes,
    No(DatabaseError),
    /// The answer was lost.
    Unknown(DatabaseError),
}

type Answer = std::result::Result<Vec<Row>, tokio_postgres::Error>;

type Request<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

fn plain<'a>(client: &'a Object, text: &'static str) -> Request<'a> {
    Box::pin(async move {
        client.batch_execute(text).await?;
        Ok(Vec::new())
    })
}

fn prepared<'a>(
    client: &'a Object,
    statement: &'a Statement,
    values: &'a [Value<'a>],
) -> Request<'a> {
    Box::pin(async move { client.query(statement, &borrowed(values)).await })
}

fn borrowed<'a>(values: &'a [Value<'_>]) -> Vec<&'a (dyn ToSql + Sync)> {
    values.iter().map(|value| &**value as _).collect()
}

/// Runs futures concurrently, each begun after the one before it, and returns their answers in the
/// same order. A statement is sent when its future is first polled.
///
/// # Errors
///
/// A statement other than the last could not be sent, for example because a value cannot be encoded.
/// Nothing after it is sent. The last one's error is an answer: if the connection is lost, it may
/// have been sent.
async fn in_order(mut requests: Vec<Request<'_>>) -> Result<Vec<Answer>> {
    let mut answers: Vec<Option<Answer>> = Vec::with_capacity(requests.len());
    std::future::poll_fn(|context| {
        let begun = answers.len();
        for (statement, answer) in requests.iter_mut().zip(&mut answers) {
            if answer.is_none()
                && let Poll::Ready(value) = statement.as_mut().poll(context)
            {
                *answer = Some(value);
            }
        }
        let last = requests.len().saturating_sub(1);
        for (at, request) in requests.iter_mut().enumerate().skip(begun) {
            match request.as_mut().poll(context) {
                Poll::Ready(Err(error)) if at < last => return Poll::Ready(Err(error)),
                Poll::Ready(answer) => answers.push(Some(answer)),
                Poll::Pending => answers.push(None),
            }
        }
        if answers.iter().all(Option::is_some) {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    })
    .await?;
    Ok(answers.into_iter().flatten().collect())
}
