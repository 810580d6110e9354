//! What a reader may see while the writer changes the table.

use loom::{model::Builder, sync::Arc, thread};

use crate::index::{
    line::Row,
    table::{Hash, Table, TableWriter, spread},
};

pub(crate) fn run() {
    // Both in one group and in slot 0 of a segment; they move when it is split.
    let [one, two] = ids(|hash| hash.group() == 0 && hash.slot(0) == 0 && hash.place(2) == 3);
    // Stay there when it is split.
    let [stays, stays_too] = ids(|hash| hash.slot(0) != 0 && hash.place(1) == 0);

    let stable = |looks| Reader {
        id: one,
        looks,
        stable: true,
    };
    meet(
        "a secret that changes",
        &[one],
        stable(2),
        move |table, writer| {
            upsert(table, writer, one, 1);
        },
    );
    // The second change brings it back to its first slot.
    meet(
        "a secret that changes twice",
        &[one],
        stable(1),
        move |table, writer| {
            upsert(table, writer, one, 1);
            upsert(table, writer, one, 2);
        },
    );
    meet(
        "a group that moves",
        &[one],
        stable(2),
        move |table, writer| {
            upsert(table, writer, two, 0);
        },
    );
    meet("a split", &[stays, one], stable(2), move |table, writer| {
        upsert(table, writer, stays_too, 0);
        upsert(table, writer, two, 0);
    });
    // The other half of the directory has been split before.
    let [a, b]: [u64; 2] = ids(|hash| hash.place(2) == 0);
    let [c, d]: [u64; 2] = ids(|hash| hash.place(2) == 1);
    let [e, f, g]: [u64; 3] = ids(|hash| hash.place(2) == 2);
    meet(
        "a split of one of several segments",
        &[a, b, c, d, e, one],
        stable(1),
        move |table, writer| {
            upsert(table, writer, f, 0);
            upsert(table, writer, g, 0);
        },
    );
    let goes = Reader {
        id: one,
        looks: 1,
        stable: false,
    };
    meet(
        "a slot that another takes over",
        &[one],
        goes,
        move |table, writer| {
            table.remove(writer, one, !one);
            upsert(table, writer, two, 0);
        },
    );
}

/// Preemptions of a thread: the interleavings with more take hours.
const PREEMPTIONS: usize = 2;

/// The first identifiers with such a hash.
fn ids<const N: usize>(fits: impl Fn(Hash) -> bool) -> [u64; N] {
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
        meta: generation,
    }
}

fn upsert(table: &Table, writer: &mut TableWriter<()>, id: u64, generation: u64) {
    let upserted = table.upsert(writer, &row(id, generation), ());
    upserted.expect("there is room");
}

/// A reader that looks up an entry some times.
#[derive(Clone, Copy)]
struct Reader {
    id: u64,
    looks: usize,
    /// Whether the entry is present all the time.
    stable: bool,
}

/// Runs a reader and the writer concurrently. Every row that the reader sees must be whole, and no
/// older than the one before.
fn meet(
    name: &str,
    before: &[u64],
    reader: Reader,
    write: impl Fn(&Table, &mut TableWriter<()>) + Send + Sync + 'static,
) {
    let before = before.to_vec();
    let mut builder = Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.check(move || {
        let (table, mut writer) = Table::new::<()>();
        for id in &before {
            upsert(&table, &mut writer, *id, 0);
        }
        let table = Arc::new(table);
        let reading = {
            let table = Arc::clone(&table);
            thread::spawn(move || reader.look(&table))
        };
        write(&table, &mut writer);
        reading.join().expect("the reader saw nothing wrong");
    });
    println!("ok: {name}");
}

impl Reader {
    fn look(self, table: &Table) {
        let mut last = 0;
        for _ in 0..self.looks {
            let seen = table.find(self.id, !self.id);
            if seen.mismatch == 0 {
                let found = seen.row;
                assert_eq!(
                    found,
                    row(self.id, found.meta),
                    "words of two rows are mixed"
                );
                assert!(found.meta >= last, "an old row came back");
                last = found.meta;
            } else {
                assert!(!self.stable, "a row was missed");
            }
        }
    }
}
