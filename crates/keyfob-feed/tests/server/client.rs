//! A client of few lines: HTTP/1.1 over a socket, chunked or not.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

pub(crate) struct Response {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    stream: BufReader<TcpStream>,
    chunked: bool,
    /// Bytes of the body that are not yet read, if it is not chunked.
    left: usize,
    pending: Vec<u8>,
}

pub(crate) async fn get(to: SocketAddr, path: &str, key: &str) -> Response {
    request(to, "GET", path, key, &[], b"").await
}

pub(crate) async fn request(
    to: SocketAddr,
    method: &str,
    path: &str,
    key: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Response {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 << 10).unwrap();
    let mut stream = socket.connect(to).await.unwrap();
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nHost: feed\r\nAuthorization: Bearer {key}\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    let status = line
        .split(' ')
        .nth(1)
        .unwrap_or_default()
        .parse()
        .unwrap_or(0);
    let mut headers = Vec::new();
    loop {
        line.clear();
        stream.read_line(&mut line).await.unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let mut response = Response {
        status,
        headers,
        stream,
        chunked: false,
        left: 0,
        pending: Vec::new(),
    };
    response.chunked = response.header("transfer-encoding") == Some("chunked");
    let length = response.header("content-length");
    response.left = length.map_or(0, |length| length.parse().unwrap());
    response
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Reads some of the body; `false` at its end, or if the connection broke.
    async fn read(&mut self) -> bool {
        if self.status == 101 {
            let read = self.stream.read_buf(&mut self.pending).await;
            return read.unwrap_or(0) > 0;
        }
        if !self.chunked && self.left == 0 {
            return false;
        }
        if !self.chunked {
            let mut part = vec![0; self.left];
            let read = self.stream.read(&mut part).await.unwrap_or(0);
            self.left -= read;
            self.pending.extend_from_slice(&part[..read]);
            return read > 0;
        }
        let mut size = String::new();
        if self.stream.read_line(&mut size).await.is_err() {
            return false;
        }
        let size = usize::from_str_radix(size.trim_end(), 16).unwrap_or(0);
        let mut chunk = vec![0; size + 2];
        if size == 0 || self.stream.read_exact(&mut chunk).await.is_err() {
            return false;
        }
        self.pending.extend_from_slice(&chunk[..size]);
        true
    }

    /// The next line; `None` at the end of the body.
    pub(crate) async fn line(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.pending.drain(..=end).collect();
                line.pop();
                return Some(line);
            }
            if !timeout(Duration::from_secs(20), self.read()).await.unwrap() {
                return None;
            }
        }
    }

    pub(crate) async fn body(mut self) -> Vec<u8> {
        while self.read().await {}
        self.pending
    }

    pub(crate) async fn text(self) -> String {
        String::from_utf8(self.body().await).unwrap()
    }
}
