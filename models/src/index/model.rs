//! What a reader may see while the writer is at work.

use loom::{model::Builder, sync::Arc, thread};

use crate::index::{
    line::Row,
    table::{Table, TableWriter, home_of, place_of, spread},
};

pub(crate) fn run() {
    // Both at home in slot 0 of a segment; the first leaves its segment when that is split.
    let [one, two] = ids(|hash| home_of(hash) == 0 && place_of(hash, 1) == 1);
    let [stays, ..]: [u64; 1] = ids(|hash| place_of(hash, 1) == 0);

    meet(
        "a secret that changes",
        &[one],
        one,
        true,
        move |table, writer| {
            upsert(table, writer, one, 1);
        },
    );
    meet(
        "a secret that changes, to an earlier slot",
        &[two, one],
        one,
        true,
        move |table, writer| {
            table.remove(writer, two, !two);
            upsert(table, writer, one, 1);
        },
    );
    meet("a split", &[stays, one], one, true, move |table, writer| {
        upsert(table, writer, stays + 1_000, 0);
        upsert(table, writer, stays + 2_000, 0);
    });
    meet(
        "a slot that another takes over",
        &[one],
        one,
        false,
        move |table, writer| {
            table.remove(writer, one, !one);
            upsert(table, writer, two, 0);
        },
    );
}

/// How often a thread may be interrupted where it need not be: more orders than these take hours.
const SWITCHES: usize = 2;

/// The first identifiers with such a hash.
fn ids<const N: usize>(fits: impl Fn(u64) -> bool) -> [u64; N] {
    let mut found = (1..).filter(|id: &u64| fits(spread(*id, !id)));
    std::array::from_fn(|_| found.next().expect("there are many"))
}

/// A row whose words all follow from identifier and generation, so that a mixture shows.
fn row(id: u64, generation: u64) -> Row {
    Row {
        high: id,
        low: !id,
        digest: [id ^ generation; 4],
        payload: (id << 20) | generation,
        tail: generation,
    }
}

fn upsert(table: &Table, writer: &mut TableWriter<()>, id: u64, generation: u64) {
    let upserted = table.upsert(writer, &row(id, generation), ());
    upserted.expect("there is room");
}

/// Lets a reader look twice for `id` while the writer writes. Every row that it sees must be whole
/// and no older than the one before, and be there at any time if it is `stable`.
fn meet(
    name: &str,
    before: &[u64],
    id: u64,
    stable: bool,
    write: impl Fn(&Table, &mut TableWriter<()>) + Send + Sync + 'static,
) {
    let before = before.to_vec();
    let mut builder = Builder::new();
    builder.preemption_bound = Some(SWITCHES);
    builder.check(move || {
        let (table, mut writer) = Table::new::<()>();
        for id in &before {
            upsert(&table, &mut writer, *id, 0);
        }
        let table = Arc::new(table);
        let reader = {
            let table = Arc::clone(&table);
            thread::spawn(move || look_twice(&table, id, stable))
        };
        write(&table, &mut writer);
        reader.join().expect("the reader saw nothing wrong");
    });
    println!("ok: {name}");
}

fn look_twice(table: &Table, id: u64, stable: bool) {
    let mut last = 0;
    for _ in 0..2 {
        match table.locate(spread(id, !id)).find(id, !id) {
            Some(found) => {
                assert_eq!(found, row(id, found.tail), "words of two rows are mixed");
                assert!(found.tail >= last, "an old row came back");
                last = found.tail;
            }
            None => assert!(!stable, "a row was missed"),
        }
    }
}
