//! `keyfob audit list --follow`

use std::time::Duration;

use keyfob::store::{AuditQuery, Cursor, KeyQuery, Order, Revision};

use crate::{
    command_context::CommandContext,
    failure::Failure,
    settings::Form,
    terminal::{self, visible},
};

use super::view::EventView;

/// Writes the last `last` events that the query selects, oldest first, and then each new one.
pub(super) async fn run(
    cx: &CommandContext,
    query: AuditQuery,
    last: usize,
) -> Result<(), Failure> {
    let mut events = Vec::new();
    let mut newest = AuditQuery {
        order: Order::NewestFirst,
        ..query.clone()
    };
    let mut seen = cx.keyring.store().head().await?.revision;
    while events.len() < last {
        newest.limit = last.saturating_sub(events.len()).min(KeyQuery::LIMIT_MAX);
        let page = cx.keyring.audit(&newest).await?;
        events.extend(page.items);
        newest.after = page.next;
        if page.next.is_none() {
            break;
        }
    }
    if let Some(first) = events.first() {
        // Committed since.
        seen = seen.max(first.revision);
    }
    for event in events.iter().rev() {
        write(cx, &EventView::new(event, cx.format()))?;
    }
    loop {
        let mut new = cx.keyring.walk(AuditQuery {
            order: Order::OldestFirst,
            after: Some(Cursor::after(seen)),
            limit: KeyQuery::LIMIT_MAX,
            ..query.clone()
        });
        while let Some(event) = new.next().await? {
            seen = event.revision;
            write(cx, &EventView::new(&event, cx.format()))?;
        }
        wait(cx, seen).await;
    }
}

/// Waits for a commit after `seen`, or a moment.
async fn wait(cx: &CommandContext, seen: Revision) {
    let change = cx.keyring.store().wait_for_change(seen);
    // If the store cannot tell, fails, or has only events that are not selected, the moment passes.
    let waited = tokio::time::timeout(Duration::from_secs(1), change).await;
    if waited.is_ok() {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn write(cx: &CommandContext, event: &EventView) -> Result<(), Failure> {
    match cx.terminal.form() {
        Form::Json => terminal::json_line(event),
        Form::Table => terminal::line(format_args!("{}", visible(&event.line()))),
        Form::Env => Err(terminal::no_env()),
    }
}
