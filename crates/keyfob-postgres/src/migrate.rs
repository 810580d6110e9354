//! The schema: created, migrated or refused.

use keyfob::Timestamp;
use refinery_core::{
    AsyncMigrate, Migration,
    traits::r#async::{AsyncQuery, AsyncTransaction},
};
use tokio_postgres::{Client, Error, Row};

use crate::{ConnectError, DatabaseError, settings::Settings, sql};

mod embedded {
    refinery::embed_migrations!("migrations");
}

/// Creates or migrates the schema, in one transaction. If several processes do so at once, one of
/// them does, and the others wait.
///
/// After an error the connection is in a transaction: it must be closed.
pub(crate) async fn migrate(client: &Client, settings: &Settings) -> Result<(), ConnectError> {
    let mut alone = Alone(client);
    let unreachable = |error: Error| ConnectError::Unreachable(error.into());
    let encoding: String = alone.one(sql::ENCODING).await.map_err(unreachable)?.get(0);
    if encoding != "UTF8" {
        return Err(ConnectError::Encoding(encoding));
    }
    client.batch_execute(sql::BEGIN).await.map_err(failed)?;
    let applied = settings.apply(client, true).await;
    applied.map_err(|error| ConnectError::of(DatabaseError::of_settings(error)))?;
    let begin = [sql::LOCK_MIGRATIONS, sql::MAKE_SCHEMA];
    alone.execute(begin.into_iter()).await.map_err(failed)?;
    let runner = embedded::migrations::runner();
    let known = runner.get_migrations().iter().map(Migration::version);
    let known = known.max().unwrap_or_default();
    let found = schema_version(&alone).await.map_err(failed)?;
    if found > known {
        return Err(ConnectError::Newer { found, known });
    }
    runner
        .run_async(&mut alone)
        .await
        .map_err(|error| ConnectError::Migration(Box::new(error)))?;
    client.batch_execute(sql::COMMIT).await.map_err(failed)
}

/// The version of the schema; zero if there is none.
async fn schema_version(alone: &Alone<'_>) -> Result<i32, Error> {
    if !alone.one(sql::HAS_HISTORY).await?.get::<_, bool>(0) {
        return Ok(0);
    }
    Ok(alone.one(sql::SCHEMA_VERSION).await?.get(0))
}

fn failed(error: Error) -> ConnectError {
    ConnectError::Migration(Box::new(DatabaseError::from(error)))
}

/// A connection in the open transaction, for the migrations to run in.
struct Alone<'c>(&'c Client);

impl Alone<'_> {
    /// The only row of a statement, which is not prepared: a pooler may be between.
    async fn one(&self, text: &str) -> Result<Row, Error> {
        self.0.query_typed_one(text, &[]).await
    }
}

impl AsyncTransaction for Alone<'_> {
    type Error = Error;

    async fn execute<'a, T: Iterator<Item = &'a str> + Send + 'a>(
        &'a mut self,
        queries: T,
    ) -> Result<usize, Error> {
        let mut count = 0;
        for query in queries {
            self.0.batch_execute(query).await?;
            count += 1;
        }
        Ok(count)
    }
}

impl AsyncQuery<Vec<Migration>> for Alone<'_> {
    async fn query<'a>(&'a mut self, query: &'a str) -> Result<Vec<Migration>, Error> {
        let rows = self.0.query_typed(query, &[]).await?;
        let applied = rows.iter().map(|row| {
            let checksum: String = row.try_get(3)?;
            // A checksum that is no number is not that of any migration.
            let checksum = checksum.parse().unwrap_or_default();
            // The time of application is not used.
            let at = Timestamp::UNIX_EPOCH.into();
            Ok(Migration::applied(
                row.try_get(0)?,
                row.try_get(1)?,
                at,
                checksum,
            ))
        });
        applied.collect()
    }
}

impl AsyncMigrate for Alone<'_> {}
