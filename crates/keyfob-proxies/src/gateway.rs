use std::{
    env, fmt, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use keyfob_testkit::{peer::missing, port::free_port};
use tempfile::TempDir;

use crate::connection::Connection;

/// A gateway with a configuration in `packaging/gateways`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// nginx.
    Nginx,
    /// Caddy.
    Caddy,
    /// Traefik.
    Traefik,
    /// `HAProxy`.
    Haproxy,
    /// Envoy that asks over HTTP.
    EnvoyHttp,
    /// Envoy that asks over gRPC.
    EnvoyGrpc,
}

impl Kind {
    /// The setting `[auth] request` that its questions need; `None` if it asks over gRPC.
    pub fn request_setting(self) -> Option<&'static str> {
        match self {
            Self::Nginx => Some("x-original-uri"),
            Self::Caddy | Self::Traefik | Self::Haproxy => Some("x-forwarded"),
            Self::EnvoyHttp => Some("appended"),
            Self::EnvoyGrpc => None,
        }
    }

    fn program(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Caddy => "caddy",
            Self::Traefik => "traefik",
            Self::Haproxy => "haproxy",
            Self::EnvoyHttp | Self::EnvoyGrpc => "envoy",
        }
    }

    /// The path of the program, if it is installed.
    fn find(self) -> Option<PathBuf> {
        let name = self.program();
        let tools = root().join("target/tools/bin");
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = [tools, "/usr/sbin".into(), "/usr/bin".into()];
        let mut folders = folders.into_iter().chain(env::split_paths(&path));
        folders.find_map(|folder| Some(folder.join(name)).filter(|file| file.is_file()))
    }

    /// The files in `packaging/gateways`, the one that the program is given first.
    fn files(self) -> &'static [&'static str] {
        match self {
            Self::Nginx => &["nginx/keyfob.conf"],
            Self::Caddy => &["caddy/Caddyfile"],
            Self::Traefik => &["traefik/traefik.yml", "traefik/keyfob.yml"],
            Self::Haproxy => &["haproxy/haproxy.cfg", "haproxy/keyfob.lua"],
            Self::EnvoyHttp => &["envoy/envoy-http.yaml"],
            Self::EnvoyGrpc => &["envoy/envoy-grpc.yaml"],
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::EnvoyHttp => "envoy-http",
            Self::EnvoyGrpc => "envoy-grpc",
            kind => kind.program(),
        })
    }
}

/// What stands in the place of the addresses in a configuration.
#[derive(Clone, Copy, Debug)]
pub struct Places {
    /// The two authorizers.
    pub authorizers: [SocketAddr; 2],
    /// The backend.
    pub backend: SocketAddr,
}

/// A running gateway. It is killed with this value.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    kind: Kind,
    folder: TempDir,
    address: SocketAddr,
}

impl Gateway {
    /// Starts one with the files of `packaging/gateways`, in which the addresses, ports and folders are
    /// replaced, and then each of `changes`, which must be in one of them. Returns `None` if it is not
    /// installed, unless `CI=true`.
    pub fn start(kind: Kind, places: &Places, changes: &[(&str, &str)]) -> Option<Self> {
        let Some(program) = kind.find() else {
            missing(&format!(
                "{kind} is not installed: apt-get install nginx-light haproxy, .ci/install"
            ));
            return None;
        };
        let folder = TempDir::new().expect("a temporary folder");
        let [address, own] = [(); 2].map(|()| SocketAddr::from(([127, 0, 0, 1], free_port())));
        let mut unchanged = changes.to_vec();
        for file in kind.files() {
            let mut text = configuration(kind, file, folder.path(), [address, own], places);
            for (from, to) in changes {
                if text.contains(from) {
                    unchanged.retain(|(unchanged, _)| unchanged != from);
                    text = text.replace(from, to);
                }
            }
            let name = Path::new(file).file_name().expect("a file");
            fs::write(folder.path().join(name), text).expect("the folder can be written");
        }
        assert!(unchanged.is_empty(), "{kind}: no file has {unchanged:?}");
        let child = command(kind, &program, folder.path())
            .stdin(Stdio::null())
            .stdout(fs::File::create(folder.path().join("out.log")).expect("a log"))
            .stderr(fs::File::create(folder.path().join("err.log")).expect("a log"))
            .spawn()
            .expect("the gateway can be run");
        let gateway = Self {
            child,
            kind,
            folder,
            address,
        };
        gateway.await_routes();
        Some(gateway)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed.
    pub fn log(&self) -> String {
        let files = ["out.log", "err.log", "error.log", "access.log"];
        let read = |name| fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
        files.map(read).concat()
    }

    /// Waits until a call without a key is judged: some gateways listen before they have routes.
    fn await_routes(&self) {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(20) {
            let answer = Connection::open(self.address, Duration::from_secs(5)).and_then(|mut one| {
                one.send(b"GET /api/v1/namespaces/_ HTTP/1.1\r\nHost: gw.test\r\nConnection: close\r\n\r\n")?;
                one.response(false)
            });
            if answer.is_ok_and(|answer| matches!(answer.status, 401 | 429)) {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("{} judges no call: {}", self.kind, self.log());
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn command(kind: Kind, program: &Path, folder: &Path) -> Command {
    let first = Path::new(kind.files()[0]).file_name().expect("a file");
    let file = folder.join(first);
    let mut command = Command::new(program);
    match kind {
        Kind::Nginx => {
            let main = folder.join("nginx.conf");
            fs::write(&main, nginx_main(folder, &file)).expect("the folder can be written");
            command.arg("-p").arg(folder).arg("-c").arg(main);
        }
        Kind::Caddy => {
            command
                .args(["run", "--adapter", "caddyfile", "--config"])
                .arg(file);
            command
                .env("XDG_DATA_HOME", folder)
                .env("XDG_CONFIG_HOME", folder);
        }
        Kind::Traefik => {
            command.arg(format!("--configFile={}", file.display()));
        }
        Kind::Haproxy => {
            command.args(["-db", "-f"]).arg(file);
        }
        Kind::EnvoyHttp | Kind::EnvoyGrpc => {
            command.arg("-c").arg(file);
            command.args(["--concurrency", "2", "--use-dynamic-base-id", "-l", "warn"]);
        }
    }
    command
}

/// What Debian's nginx.conf is to a file in conf.d. One process, with the user of the test.
fn nginx_main(folder: &Path, file: &Path) -> String {
    let folder = folder.display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = temporary
        .map(|kind| format!("{kind}_temp_path {folder}/{kind};\n"))
        .concat();
    format!(
        "daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log {folder}/error.log;\n\
         events {{ worker_connections 2048; }}\nhttp {{\naccess_log off;\n{temporary}include {};\n}}\n",
        file.display()
    )
}

/// A file with other addresses and folders.
fn configuration(
    kind: Kind,
    file: &str,
    folder: &Path,
    [address, own]: [SocketAddr; 2],
    places: &Places,
) -> String {
    let path = root().join("packaging/gateways").join(file);
    let mut text = fs::read_to_string(path).expect("the configuration is there");
    let [first, second] = places.authorizers;
    let folder = folder.display().to_string();
    let mut replace = |from: &str, to: &str| {
        text = text.replace(from, to);
    };
    for (port, place) in [
        (8000, address),
        (8181, first),
        (8182, second),
        (8191, first),
        (8192, second),
        (9000, places.backend),
        (8180, own),
    ] {
        replace(&format!("127.0.0.1:{port}"), &place.to_string());
        replace(
            &format!("port_value: {port}}}"),
            &format!("port_value: {}}}", place.port()),
        );
    }
    // Caddy names the address apart from the port.
    replace("http://:8000", &format!("http://:{}", address.port()));
    for place in ["/etc/haproxy", "/etc/traefik"] {
        replace(place, &folder);
    }
    for (port, meaning) in [(8000, "its own"), (9000, "the backend's")] {
        let unchanged = text.contains(&format!(":{port}")) || text.contains(&format!(": {port}"));
        assert!(
            !unchanged,
            "{kind}: {meaning} address is not where it is expected"
        );
    }
    text
}
