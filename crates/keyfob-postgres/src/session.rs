//! One call's use of a connection.

use std::{future::Future, pin::Pin, task::Poll, time::Duration};

use deadpool_postgres::{Object, Pool};
use tokio::time::timeout;
use tokio_postgres::{Row, Statement};

use crate::{
    DatabaseError,
    row::Result,
    settings::Settings,
    sql::{self, Sql},
    value::Value,
};

pub(crate) use crate::value::values;

/// The sessions of a store: its connection pool, and how the connections are used.
#[derive(Clone)]
pub(crate) struct Sessions {
    pub(crate) pool: Pool,
    /// How long the server may take to answer.
    pub(crate) patience: Duration,
    /// The settings of each transaction, if a pooler gives each transaction another connection to
    /// the server. Otherwise each connection has them.
    pub(crate) per_transaction: Option<Settings>,
}

impl Sessions {
    pub(crate) async fn session(&self) -> Result<Session> {
        Ok(Session {
            client: Some(self.pool.get().await.map_err(DatabaseError::of_pool)?),
            at_rest: true,
            sessions: self.clone(),
        })
    }

    /// Closes the connections that no call uses. After one of them gave no answer, the others would
    /// not either: their server hangs, or another one has taken its place.
    pub(crate) fn close_idle(&self) {
        self.pool.retain(|_, _| false);
    }
}

/// A connection that one call uses. If the call leaves it in the middle of a transaction, by an
/// error or because the future was dropped, it does not go back to the pool: it is closed, which
/// ends the transaction.
pub(crate) struct Session {
    client: Option<Object>,
    /// Whether no transaction is open.
    at_rest: bool,
    sessions: Sessions,
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
    /// The rows of one statement, in a transaction of its own.
    pub(crate) async fn rows(&mut self, step: Step<'_>) -> Result<Vec<Row>> {
        if self.sessions.per_transaction.is_some() {
            let steps = [step];
            let sent = self.pipeline(Some(sql::BEGIN), &steps, Some(sql::COMMIT));
            return Ok(sent.await?.rows()?.next().unwrap_or_default());
        }
        let statement = self.prepare(step.sql).await?;
        let client = self.client()?;
        let answer = timeout(self.sessions.patience, prepared(client, &statement, &step));
        let Ok(rows) = answer.await else {
            return Err(self.late());
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
        let settings = self.sessions.per_transaction.clone();
        let mut statements = Vec::with_capacity(steps.len());
        if settings.is_none() {
            for step in steps {
                statements.push(self.prepare(step.sql).await?);
            }
        }
        self.at_rest = false;
        let patience = self.sessions.patience;
        let client = self.client()?;
        let mut requests: Vec<Request<'_>> = Vec::with_capacity(steps.len() + 3);
        requests.extend(before.map(|text| plain(client, text)));
        if let Some(settings) = settings.as_ref().filter(|_| before.is_some()) {
            requests.push(Box::pin(settings.apply(client, true)));
        }
        if settings.is_some() {
            requests.extend(steps.iter().map(|step| unprepared(client, step)));
        }
        for (step, statement) in steps.iter().zip(&statements) {
            requests.push(prepared(client, statement, step));
        }
        requests.extend(after.map(|text| plain(client, text)));
        let Ok(answers) = timeout(patience, in_order(requests)).await else {
            let (answers, ended) = (Vec::new(), Err(self.late()));
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
            let begun = answers.remove(0);
            // Their error says more.
            if settings.is_some() {
                answers.remove(0).map_err(DatabaseError::of_settings)?;
            }
            begun?;
        }
        Ok(Pipelined { answers, ended })
    }

    /// Rolls the transaction back.
    pub(crate) async fn roll_back(mut self) {
        let Ok(client) = self.client() else { return };
        let rolling_back = client.batch_execute(sql::ROLLBACK);
        let answer = timeout(self.sessions.patience, rolling_back).await;
        self.at_rest = matches!(answer, Ok(Ok(())));
    }

    async fn prepare(&mut self, sql: Sql) -> Result<Statement> {
        let patience = self.sessions.patience;
        let preparing = self.client()?.prepare_cached(sql.text());
        let Ok(statement) = timeout(patience, preparing).await else {
            return Err(self.late());
        };
        Ok(statement?)
    }

    /// Closes the connection, which gave no answer in time.
    fn late(&mut self) -> DatabaseError {
        self.discard();
        self.sessions.close_idle();
        DatabaseError::late()
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

fn prepared<'a>(client: &'a Object, statement: &'a Statement, step: &'a Step<'_>) -> Request<'a> {
    Box::pin(async move {
        let values: Vec<_> = step.values.iter().map(Value::borrowed).collect();
        client.query(statement, &values).await
    })
}

/// A statement without a name, which is parsed and planned each time.
fn unprepared<'a>(client: &'a Object, step: &'a Step<'_>) -> Request<'a> {
    Box::pin(async move {
        let values: Vec<_> = step.values.iter().map(Value::typed).collect();
        client.query_typed(step.sql.text(), &values).await
    })
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
