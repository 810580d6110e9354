//! Sessions, in the memory of this process.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use axum::http::{HeaderMap, header};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    digest::{SHA256, digest},
    rand::{SecureRandom as _, SystemRandom},
};
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use crate::shell::Notice;

/// How long sessions last, and how many there are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) idle: Duration,
    pub(crate) lifetime: Duration,
    pub(crate) most: usize,
}

/// 15 minutes idle, 12 hours, 10,000 sessions.
impl Default for Limits {
    fn default() -> Self {
        Self {
            idle: Duration::from_mins(15),
            lifetime: Duration::from_hours(12),
            most: 10_000,
        }
    }
}

/// Who is signed in. Only hashes of the identifiers are kept.
pub(crate) struct Sessions {
    limits: Limits,
    all: Mutex<HashMap<Id, Session>>,
    /// The task that forgets sessions that are over.
    sweeper: Mutex<Option<JoinHandle<()>>>,
}

/// The hash of a session's identifier.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Id([u8; 32]);

struct Session {
    /// Never empty.
    logins: Vec<Login>,
    /// The one that is worked with.
    current: usize,
    /// The team that an operator works in.
    team: Option<String>,
    notices: Vec<Notice>,
    began: Instant,
    used: Instant,
}

/// A control key that somebody signed in with. A person has one for each of their teams.
#[derive(Clone)]
pub(crate) struct Login {
    pub(crate) credential: Zeroizing<String>,
    /// The public identifier of the credential.
    pub(crate) key: String,
    pub(crate) team: String,
}

/// What a session knows.
pub(crate) struct Opened {
    pub(crate) id: Id,
    pub(crate) logins: Vec<Login>,
    /// The index of the one that is worked with.
    pub(crate) current: usize,
    pub(crate) team: Option<String>,
}

impl Sessions {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            all: Mutex::new(HashMap::new()),
            sweeper: Mutex::new(None),
        }
    }

    /// Begins a session; returns the value of its cookie, or none without random bytes.
    pub(crate) fn begin(&self, login: Login, now: Instant) -> Option<String> {
        self.insert(vec![login], Vec::new(), now)
    }

    /// Has the session of a request work with one more key, under another identifier; begins one if
    /// there is none.
    pub(crate) fn add(&self, headers: &HeaderMap, login: Login, now: Instant) -> Option<String> {
        let mut logins = match self.open(headers, now) {
            Some(opened) => opened.logins,
            None => Vec::new(),
        };
        logins.retain(|known| known.key != login.key);
        let excess = (logins.len() + 1).saturating_sub(LOGINS_MAX);
        logins.drain(..excess);
        logins.push(login);
        let notices = match cookie(headers) {
            Some(value) => self.notices(Id::of(&value)),
            None => Vec::new(),
        };
        self.end_of(headers);
        self.insert(logins, notices, now)
    }

    /// Begins a session that works with the last of these keys, and shows these notices.
    fn insert(&self, logins: Vec<Login>, notices: Vec<Notice>, now: Instant) -> Option<String> {
        let mut bytes = Zeroizing::new([0; 32]);
        SystemRandom::new().fill(&mut *bytes).ok()?;
        let value = URL_SAFE_NO_PAD.encode(*bytes);
        let mut all = self.lock();
        all.retain(|_, session| !session.is_over(&self.limits, now));
        if all.len() >= self.limits.most {
            let idle = all.iter().min_by_key(|(_, session)| session.used);
            if let Some(id) = idle.map(|(id, _)| *id) {
                all.remove(&id);
            }
        }
        let session = Session {
            current: logins.len().saturating_sub(1),
            logins,
            team: None,
            notices,
            began: now,
            used: now,
        };
        all.insert(Id::of(&value), session);
        Some(value)
    }

    /// Has a task forget the sessions that are over, at least each minute, as long as there is one.
    pub(crate) fn watch(self: &Arc<Self>) {
        let mut sweeper = self.sweeper();
        if sweeper.as_ref().is_none_or(JoinHandle::is_finished) {
            *sweeper = Some(tokio::spawn(sweep(Arc::downgrade(self), self.limits)));
        }
    }

    /// Forgets the sessions that are over, with their credentials; returns whether none is left.
    fn sweep(&self, now: Instant) -> bool {
        let mut all = self.lock();
        all.retain(|_, session| !session.is_over(&self.limits, now));
        all.is_empty()
    }

    /// The session of a request, if it has one that is not over.
    pub(crate) fn open(&self, headers: &HeaderMap, now: Instant) -> Option<Opened> {
        let id = Id::of(&cookie(headers)?);
        let mut all = self.lock();
        let session = all.get_mut(&id)?;
        if session.is_over(&self.limits, now) {
            all.remove(&id);
            return None;
        }
        session.used = now;
        Some(Opened {
            id,
            logins: session.logins.clone(),
            current: session.current,
            team: session.team.clone(),
        })
    }

    /// Has the session work with another of its keys; returns its team.
    pub(crate) fn choose(&self, id: Id, key: &str) -> Option<String> {
        let mut all = self.lock();
        let session = all.get_mut(&id)?;
        let at = session.logins.iter().position(|login| login.key == key)?;
        session.current = at;
        session.team = None;
        session.logins.get(at).map(|login| login.team.clone())
    }

    /// Takes a key that no longer works out of the session, which ends with its last one.
    pub(crate) fn drop_login(&self, id: Id, key: &str) {
        let mut all = self.lock();
        let Some(session) = all.get_mut(&id) else {
            return;
        };
        let Some(at) = session.logins.iter().position(|login| login.key == key) else {
            return;
        };
        session.logins.remove(at);
        if session.current >= at && session.current > 0 {
            session.current -= 1;
        }
        if session.logins.is_empty() {
            all.remove(&id);
        }
    }

    /// Ends a session.
    pub(crate) fn end(&self, id: Id) {
        self.lock().remove(&id);
    }

    /// Ends the session of a request.
    pub(crate) fn end_of(&self, headers: &HeaderMap) {
        if let Some(value) = cookie(headers) {
            self.end(Id::of(&value));
        }
    }

    /// Has the session work in another team.
    pub(crate) fn switch(&self, id: Id, team: Option<String>) {
        if let Some(session) = self.lock().get_mut(&id) {
            session.team = team;
        }
    }

    /// Shows this on the next page.
    pub(crate) fn notify(&self, id: Id, notice: Notice) {
        if let Some(session) = self.lock().get_mut(&id)
            && session.notices.len() < NOTICES_MAX
        {
            session.notices.push(notice);
        }
    }

    /// What the next page shows, once.
    pub(crate) fn notices(&self, id: Id) -> Vec<Notice> {
        let mut all = self.lock();
        all.get_mut(&id)
            .map(|session| std::mem::take(&mut session.notices))
            .unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Id, Session>> {
        // Every change of the map is one call.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sweeper(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.sweeper.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets sessions that are over until there is none: a browser that is closed sends no request.
async fn sweep(sessions: Weak<Sessions>, limits: Limits) {
    let shortest = limits.idle.min(limits.lifetime);
    let pause = shortest.clamp(Duration::from_millis(1), Duration::from_mins(1));
    loop {
        tokio::time::sleep(pause).await;
        let Some(sessions) = sessions.upgrade() else {
            return;
        };
        // A session that begins meanwhile is watched afterwards.
        let mut sweeper = sessions.sweeper();
        if sessions.sweep(Instant::now()) {
            *sweeper = None;
            return;
        }
    }
}

/// How many keys a session works with.
const LOGINS_MAX: usize = 8;
const NOTICES_MAX: usize = 8;

impl Session {
    fn is_over(&self, limits: &Limits, now: Instant) -> bool {
        now.duration_since(self.used) >= limits.idle
            || now.duration_since(self.began) >= limits.lifetime
    }
}

impl Id {
    fn of(value: &str) -> Self {
        let hash = digest(&SHA256, value.as_bytes());
        let mut id = [0; 32];
        id.copy_from_slice(hash.as_ref());
        Self(id)
    }
}

/// The name of the cookie. Browsers keep one with this prefix only if it is `Secure`, for this host
/// alone and for all its paths.
const COOKIE: &str = "__Host-keyfob";

/// The field that sets the cookie, or with an empty value removes it.
pub(crate) fn set_cookie(value: &str) -> String {
    let age = if value.is_empty() { "; Max-Age=0" } else { "" };
    format!("{COOKIE}={value}; Path=/; Secure; HttpOnly; SameSite=Strict{age}")
}

/// Whether a browser sent the cookie of a session, which may be over.
pub(crate) fn has_cookie(headers: &HeaderMap) -> bool {
    cookie(headers).is_some()
}

/// The cookie's value, if the request has exactly one.
fn cookie(headers: &HeaderMap) -> Option<String> {
    let fields = headers.get_all(header::COOKIE).iter();
    let pairs = fields
        .filter_map(|field| field.to_str().ok())
        .flat_map(|field| field.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    let mut values = pairs.filter(|(name, _)| *name == COOKIE);
    match (values.next(), values.next()) {
        (Some((_, value)), None) if !value.is_empty() => Some(value.to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn with_cookie(text: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, HeaderValue::from_str(text).unwrap());
        headers
    }

    fn sessions(most: usize) -> Sessions {
        Sessions::new(Limits {
            idle: Duration::from_mins(15),
            lifetime: Duration::from_hours(1),
            most,
        })
    }

    fn login(name: &str) -> Login {
        Login {
            credential: Zeroizing::new(name.to_owned()),
            key: format!("id of {name}"),
            team: format!("team of {name}"),
        }
    }

    fn begin(sessions: &Sessions, name: &str, now: Instant) -> HeaderMap {
        let value = sessions.begin(login(name), now).unwrap();
        with_cookie(&format!("{COOKIE}={value}"))
    }

    #[test]
    fn a_session_ends_when_idle_and_after_its_lifetime() {
        let (sessions, start) = (sessions(9), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        let idle = begin(&sessions, "a", start);
        assert!(sessions.open(&idle, after(899)).is_some());
        assert!(sessions.open(&idle, after(899 + 899)).is_some());
        assert!(sessions.open(&idle, after(899 + 899 + 900)).is_none());
        assert!(sessions.open(&idle, after(1)).is_none(), "it is forgotten");
        let busy = begin(&sessions, "b", start);
        for seconds in (0..3600).step_by(600) {
            assert!(sessions.open(&busy, after(seconds)).is_some());
        }
        assert!(sessions.open(&busy, after(3600)).is_none());
    }

    #[test]
    fn a_session_works_with_several_keys_and_ends_with_the_last() {
        let (sessions, now) = (sessions(9), Instant::now());
        let first = begin(&sessions, "a", now);
        let id = sessions.open(&first, now).unwrap().id;
        sessions.notify(id, Notice::done("the policy is set"));
        let value = sessions.add(&first, login("b"), now).unwrap();
        let headers = with_cookie(&format!("{COOKIE}={value}"));
        assert!(sessions.open(&first, now).is_none(), "another identifier");
        let current = || {
            let opened = sessions.open(&headers, now)?;
            Some((
                opened.logins[opened.current].team.clone(),
                opened.logins.len(),
            ))
        };
        assert_eq!(current(), Some(("team of b".to_owned(), 2)));
        let id = sessions.open(&headers, now).unwrap().id;
        assert_eq!(sessions.notices(id).len(), 1, "what it had to tell before");
        assert_eq!(sessions.choose(id, "id of a").as_deref(), Some("team of a"));
        assert_eq!(sessions.choose(id, "id of c"), None);
        assert_eq!(current(), Some(("team of a".to_owned(), 2)));
        sessions.drop_login(id, "id of a");
        assert_eq!(current(), Some(("team of b".to_owned(), 1)));
        sessions.drop_login(id, "id of b");
        assert_eq!(current(), None);
        let mut headers = HeaderMap::new();
        for n in 0..20 {
            let value = sessions.add(&headers, login(&n.to_string()), now).unwrap();
            headers = with_cookie(&format!("{COOKIE}={value}"));
        }
        assert_eq!(
            sessions.open(&headers, now).unwrap().logins.len(),
            LOGINS_MAX
        );
        assert_eq!(sessions.lock().len(), 1);
    }

    #[test]
    fn one_more_than_the_most_ends_the_one_that_was_idle_longest() {
        let (sessions, start) = (sessions(2), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        let first = begin(&sessions, "a", start);
        let second = begin(&sessions, "b", after(1));
        assert!(sessions.open(&first, after(2)).is_some());
        let third = begin(&sessions, "c", after(3));
        assert!(sessions.open(&second, after(4)).is_none());
        for kept in [first, third] {
            assert!(sessions.open(&kept, after(4)).is_some());
        }
    }

    #[test]
    fn a_session_that_is_over_is_forgotten_when_another_begins() {
        let (sessions, start) = (sessions(9), Instant::now());
        begin(&sessions, "a", start);
        begin(&sessions, "b", start + Duration::from_secs(899));
        assert_eq!(sessions.lock().len(), 2);
        begin(&sessions, "c", start + Duration::from_mins(15));
        assert_eq!(sessions.lock().len(), 2);
    }

    #[tokio::test]
    async fn a_session_that_is_over_is_forgotten_with_its_key_though_no_request_comes() {
        let sessions = Arc::new(Sessions::new(Limits {
            idle: Duration::from_millis(20),
            lifetime: Duration::from_hours(1),
            most: 9,
        }));
        // The task ends with the last session, and another one starts with the next.
        for name in ["a", "b"] {
            begin(&sessions, name, Instant::now());
            sessions.watch();
            let empty = async {
                while !sessions.lock().is_empty() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            let forgotten = tokio::time::timeout(Duration::from_mins(1), empty).await;
            assert!(forgotten.is_ok(), "{name} is still in memory");
        }
    }

    #[test]
    fn only_the_one_cookie_of_its_name_counts() {
        let (sessions, now) = (sessions(9), Instant::now());
        let headers = begin(&sessions, "secret", now);
        let opened = sessions.open(&headers, now).unwrap();
        assert_eq!(*opened.logins[0].credential, "secret");
        let given = headers[header::COOKIE].to_str().unwrap();
        let plain = given.replace("__Host-", "");
        for (text, found) in [
            (format!("a=b; {given}; c=d"), true),
            (format!("{given}; {given}"), false),
            (plain, false),
            (format!("{COOKIE}="), false),
            (format!("{given}x"), false),
        ] {
            let opened = sessions.open(&with_cookie(&text), now);
            assert_eq!(opened.is_some(), found, "{text}");
        }
        sessions.end_of(&headers);
        assert!(sessions.open(&headers, now).is_none());
    }
}
