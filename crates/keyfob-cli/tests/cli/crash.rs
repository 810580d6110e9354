//! A server that is killed under load loses no acknowledged change.

use std::{thread, time::Duration};

use crate::{
    program::{Program, id},
    server::{Server, bearer},
};

const KILLS: u32 = 20;

#[test]
fn no_acknowledged_change_is_lost() {
    let program = Program::new();
    program.done(&["namespaces", "create", "orders"]);
    let mut operator = None;
    let mut made: Vec<String> = Vec::new();
    let mut revoked: Vec<String> = Vec::new();
    for round in 0..KILLS {
        let mut server = Server::start(&program, &["--log", "error"]);
        operator = operator.or(server.operator.take());
        let operator = operator.as_deref().expect("the first start shows one");
        // Later in each round: from the first calls to many.
        let killer = Killer::after(&server, Duration::from_millis(20) * (round + 1));
        for number in 0.. {
            let name = format!("{round}-{number}");
            let Some(key) = server.create(operator, "orders", &name) else {
                break;
            };
            // Every other key is revoked; the state of one whose response was lost is unknown.
            if number % 2 == 1 {
                let target = format!("/v2/functions/namespaces/orders/keys/{}/revoke", id(&key));
                let sent = server.try_send("POST", &target, &[&bearer(operator)], "");
                match sent {
                    Ok(answer) => {
                        assert_eq!(answer.status, 200, "{}", answer.body);
                        revoked.push(key);
                    }
                    Err(_) => break,
                }
            } else {
                made.push(key);
            }
        }
        killer.join().expect("the server was killed");
        server.kill();
    }
    assert!(
        made.len() > 20 && revoked.len() > 20,
        "{} {}",
        made.len(),
        revoked.len()
    );

    let server = Server::start(&program, &["--log", "error"]);
    for key in &made {
        assert_eq!(server.auth(key, "orders"), 200, "{} was lost", id(key));
    }
    for key in &revoked {
        assert_eq!(server.auth(key, "orders"), 401, "{} works again", id(key));
    }
    let listed = program.json(&["keys", "list", "--limit", "100000"]);
    let listed = listed["keys"].as_array().unwrap().len();
    // One per round may have been stored without a response.
    let known = made.len() + revoked.len();
    assert!(
        (known..=known + 2 * usize::try_from(KILLS).unwrap()).contains(&listed),
        "{known} {listed}"
    );
    program.done(&["audit", "verify"]);
}

struct Killer;

impl Killer {
    /// Kills the server after this long.
    fn after(server: &Server, time: Duration) -> thread::JoinHandle<()> {
        let pid = server.pid().to_string();
        thread::spawn(move || {
            thread::sleep(time);
            let killed = std::process::Command::new("kill")
                .args(["-KILL", &pid])
                .status();
            assert!(killed.expect("there is a `kill`").success());
        })
    }
}
