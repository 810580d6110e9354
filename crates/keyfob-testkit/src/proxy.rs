//! Something between client and server that counts what the client sends, statement by statement,
//! and at a given one stops, or cuts the connection.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::Notify,
};

/// A proxy on a port of the loopback.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    plan: Arc<Plan>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Plan {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// How many statements from now on until the fault; none for never.
    left: Option<u32>,
    fault: Fault,
    fired: bool,
    /// Whether every connection is refused.
    dead: bool,
}

/// What happens at a statement.
#[derive(Clone, Debug, Default)]
pub enum Fault {
    /// The connection is cut, and the statement not sent.
    #[default]
    Before,
    /// The statement is sent, and the connection cut before the answer.
    After,
    /// As `Before`, and nothing gets through until the proxy is mended.
    BeforeForGood,
    /// As `After`, and nothing gets through until the proxy is mended.
    AfterForGood,
    /// The statement is held back.
    Stop(Arc<Gate>),
}

/// Where a statement is held back.
#[derive(Debug, Default)]
pub struct Gate {
    reached: Notify,
    go_on: Notify,
}

/// A statement that will be held back.
#[derive(Debug)]
pub struct Stop {
    gate: Arc<Gate>,
    plan: Arc<Plan>,
}

impl Stop {
    /// Whether the statement came within a while.
    pub async fn reached(&self) -> bool {
        let second = std::time::Duration::from_secs(1);
        let reached = tokio::time::timeout(second, self.gate.reached.notified());
        reached.await.is_ok()
    }

    /// Lets the statement through.
    pub fn go_on(self) {
        self.plan.state().left = None;
        self.gate.go_on.notify_one();
    }
}

impl Plan {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics meanwhile")
    }

    /// What happens at the next statement, if something does.
    fn next(&self) -> Option<Fault> {
        let mut state = self.state();
        let left = state.left?;
        if left > 1 {
            state.left = Some(left - 1);
            return None;
        }
        state.left = None;
        state.fired = true;
        if matches!(state.fault, Fault::BeforeForGood | Fault::AfterForGood) {
            state.dead = true;
        }
        Some(state.fault.clone())
    }
}

impl Proxy {
    /// Listens, and connects each client to this port of the loopback.
    pub async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("the loopback has a free port");
        let port = listener
            .local_addr()
            .expect("the loopback has a free port")
            .port();
        let plan = Arc::new(Plan::default());
        let of_all = Arc::clone(&plan);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let plan = Arc::clone(&of_all);
                tokio::spawn(async move {
                    // Any failure ends both connections.
                    let _ = connect(client, server, &plan).await;
                });
            }
        });
        Self { port, plan, task }
    }

    /// The URL of a database of the shared server through the proxy, which speaks no TLS.
    pub fn url(&self, database: &str) -> String {
        let url = crate::postgres::shared().url_over(self.port, database);
        format!("{url}?sslmode=disable")
    }

    /// Lets something happen at the n-th statement from now on.
    pub fn arm(&self, n: u32, fault: Fault) {
        let mut state = self.plan.state();
        state.left = Some(n);
        state.fault = fault;
        state.fired = false;
    }

    /// Lets everything through again, and tells whether something happened.
    pub fn mend(&self) -> bool {
        let mut state = self.plan.state();
        state.left = None;
        state.dead = false;
        state.fired
    }

    /// Holds the n-th statement back.
    pub fn stop_before(&self, n: u32) -> Stop {
        let gate = Arc::new(Gate::default());
        self.arm(n, Fault::Stop(Arc::clone(&gate)));
        Stop {
            gate,
            plan: Arc::clone(&self.plan),
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connect(client: TcpStream, server: u16, plan: &Plan) -> io::Result<()> {
    if plan.state().dead {
        return Ok(());
    }
    client.set_nodelay(true)?;
    let server = TcpStream::connect(("127.0.0.1", server)).await?;
    server.set_nodelay(true)?;
    let (from_client, mut to_client) = client.into_split();
    let (mut from_server, to_server) = server.into_split();
    tokio::select! {
        ended = send(from_client, to_server, plan) => ended,
        ended = tokio::io::copy(&mut from_server, &mut to_client) => ended.map(|_| ()),
    }
}

/// Hands on what the client sends, message by message.
async fn send(
    mut client: OwnedReadHalf,
    mut server: OwnedWriteHalf,
    plan: &Plan,
) -> io::Result<()> {
    // The first message has no type.
    let begin = message(&mut client, false).await?;
    server.write_all(&begin).await?;
    loop {
        let message = message(&mut client, true).await?;
        // A statement ends with a `Sync`, or is a `Query`.
        let fault = match message.first() {
            Some(b'S' | b'Q') => plan.next(),
            _ => None,
        };
        match fault {
            Some(Fault::Before | Fault::BeforeForGood) => return Ok(()),
            Some(Fault::After | Fault::AfterForGood) => {
                server.write_all(&message).await?;
                return server.shutdown().await;
            }
            Some(Fault::Stop(gate)) => {
                gate.reached.notify_one();
                gate.go_on.notified().await;
                server.write_all(&message).await?;
            }
            None if plan.state().dead => return Ok(()),
            None => server.write_all(&message).await?,
        }
    }
}

async fn message(from: &mut OwnedReadHalf, typed: bool) -> io::Result<Vec<u8>> {
    let mut message = Vec::new();
    if typed {
        message.push(from.read_u8().await?);
    }
    let length = from.read_u32().await?;
    message.extend_from_slice(&length.to_be_bytes());
    let start = message.len();
    let rest = usize::try_from(length.saturating_sub(4)).unwrap_or_default();
    message.resize(start + rest, 0);
    from.read_exact(&mut message[start..]).await?;
    Ok(message)
}
