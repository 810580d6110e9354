//! The schema: created, migrated or refused.

use refinery::Migration;
use tokio_postgres::Client;

use crate::{ConnectError, DatabaseError, sql};

mod embedded {
    refinery::embed_migrations!("migrations");
}

/// Creates or migrates the schema. If several processes do so at once, one of them does, and the
/// others wait.
///
/// The lock belongs to the session: the connection must not be used for anything else, and must be
/// closed afterwards.
pub(crate) async fn migrate(client: &mut Client) -> Result<(), ConnectError> {
    let unreachable = |error: tokio_postgres::Error| ConnectError::Unreachable(error.into());
    let row = client
        .query_one(sql::ENCODING, &[])
        .await
        .map_err(unreachable)?;
    let encoding: String = row.get(0);
    if encoding != "UTF8" {
        return Err(ConnectError::Encoding(encoding));
    }
    client
        .batch_execute(sql::LOCK_MIGRATIONS)
        .await
        .map_err(failed)?;
    client
        .batch_execute(sql::MAKE_SCHEMA)
        .await
        .map_err(failed)?;
    let runner = embedded::migrations::runner();
    let known = runner.get_migrations().iter().map(Migration::version);
    let known = known.max().unwrap_or_default();
    let found = schema_version(client).await.map_err(failed)?;
    if found > known {
        return Err(ConnectError::Newer { found, known });
    }
    runner
        .run_async(client)
        .await
        .map_err(|error| ConnectError::Migration(Box::new(error)))?;
    Ok(())
}

/// The version of the schema; zero if there is none.
async fn schema_version(client: &Client) -> Result<i32, tokio_postgres::Error> {
    let row = client.query_one(sql::HAS_HISTORY, &[]).await?;
    if !row.get::<_, bool>(0) {
        return Ok(0);
    }
    let row = client.query_one(sql::SCHEMA_VERSION, &[]).await?;
    Ok(row.get(0))
}

fn failed(error: tokio_postgres::Error) -> ConnectError {
    ConnectError::Migration(Box::new(DatabaseError::from(error)))
}
