//! The settings of a replica, by the names that they have in the program's configuration file.

use std::{
    collections::BTreeSet, ffi::c_char, fmt, fs, path::PathBuf, str::FromStr, time::Duration,
};

use keyfob::{
    Tenant,
    key::{KeyFormat, PepperId, Peppers},
    name::{NamespaceId, TeamId},
};
use keyfob_feed::{Filter, SignerKey, Trust};
use keyfob_replica::{Follower, HttpSource, Upstream};
use zeroize::Zeroizing;

use crate::{
    error::{self, chain},
    result::{KeyfobResult, guarded},
    view::KeyfobView,
};

/// The settings of a replica, which keyfob_open reads. One thread at a time uses them.
#[derive(Debug, Default)]
pub struct KeyfobOptions(Settings);

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    upstreams: Vec<Upstream>,
    signers: Vec<SignerKey>,
    credential_file: Option<PathBuf>,
    ca: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    only: Option<Filter>,
    state: Option<PathBuf>,
    stale_after: Duration,
    flush_every: Duration,
    prefix: Option<KeyFormat>,
    name: String,
    peppers: Peppers,
    pepper_current: Option<PepperId>,
    pepper_files: Vec<(PepperId, PathBuf)>,
    /// Those that were set. Only lists can be set twice.
    set: BTreeSet<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            upstreams: Vec::new(),
            signers: Vec::new(),
            credential_file: None,
            ca: None,
            certificate: None,
            key: None,
            only: None,
            state: None,
            stale_after: Duration::from_secs(5),
            flush_every: Duration::from_secs(10),
            prefix: None,
            name: "c".to_owned(),
            peppers: Peppers::none(),
            pepper_current: None,
            pepper_files: Vec::new(),
            set: BTreeSet::new(),
        }
    }
}

/// Creates options with the defaults. keyfob_options_free frees them.
///
/// It returns NULL if the library has a bug.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn keyfob_options_new() -> *mut KeyfobOptions {
    guarded(std::ptr::null_mut, || {
        Box::into_raw(Box::new(KeyfobOptions::default()))
    })
}

/// Sets an option by its name. Names and values are those of `[gateway]` in the program's
/// configuration file; durations are texts like `5s`, paths are relative to the working folder:
///
/// - `upstream`: URLs of feeds, separated by commas, in the order in which they are tried; required.
///   Plain HTTP goes to the machine itself only
/// - `signers`: the public keys of the authority, separated by commas; required
/// - `credential_file`: a file with a key that has the scope `replica`; required
/// - `upstream_ca`, `upstream_certificate`, `upstream_key`: files in PEM: the authorities of the
///   upstream's certificate, and a certificate to show with its private key
/// - `only`: a part of the keys: a team, or namespaces as in `acme/orders,acme/billing`
/// - `state`: a folder for what was read, to start without the network; for one process at a time
/// - `stale_after` (`5s`): refuse every call with 503 if what is known is older
/// - `flush_every` (`10s`): how often the use of keys is reported
/// - `prefix`: the prefix of the keys; without it, the feed tells
/// - `name` (`c`): the name by which the authority lists this reader
/// - `pepper_file_1` to `pepper_file_255`, `pepper_current`: files of peppers, and the number of the
///   one under which new keys are
///
/// `upstream` and `signers` can be set several times, and then add up; others only once.
///
/// Returns KEYFOB_OK, or KEYFOB_INVALID with a text in `error`, which ends with NUL and is shortened
/// to `error_size` bytes; it never contains the value. `error` may be NULL.
///
/// # Safety
///
/// `options` is NULL or of keyfob_options_new and not freed. `name` and `value` can be read, and
/// `error_size` bytes of `error` can be written.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn keyfob_options_set(
    options: *mut KeyfobOptions,
    name: KeyfobView,
    value: KeyfobView,
    error: *mut c_char,
    error_size: usize,
) -> KeyfobResult {
    guarded(
        || KeyfobResult::KeyfobPanicked,
        || {
            // SAFETY: the caller vouches for the pointers.
            let (options, name, value) = unsafe { (options.as_mut(), name.bytes(), value.bytes()) };
            let text =
                |bytes: Option<&'static [u8]>| bytes.and_then(|bytes| str::from_utf8(bytes).ok());
            let set = match (options, text(name), text(value)) {
                (None, ..) => Err("options: must not be NULL".to_owned()),
                (_, None, _) => Err("name: must be a text in UTF-8".to_owned()),
                (.., None) => Err("value: must be a text in UTF-8".to_owned()),
                (Some(options), Some(name), Some(value)) => options.0.set(name, value),
            };
            match set {
                Ok(()) => KeyfobResult::KeyfobOk,
                Err(text) => {
                    // SAFETY: the caller vouches for the buffer.
                    unsafe { error::write(&text, error, error_size) };
                    KeyfobResult::KeyfobInvalid
                }
            }
        },
    )
}

/// Frees options; NULL is allowed. A replica that was opened with them does not need them.
///
/// # Safety
///
/// `options` is NULL or of keyfob_options_new and not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn keyfob_options_free(options: *mut KeyfobOptions) {
    guarded(
        || (),
        || {
            if !options.is_null() {
                // SAFETY: it is of `Box::into_raw`, and nobody uses it any more.
                drop(unsafe { Box::from_raw(options) });
            }
        },
    );
}

impl KeyfobOptions {
    /// The settings, once they are complete.
    pub(crate) fn settings(&self) -> Result<Settings, String> {
        let mut settings = self.0.clone();
        if settings.certificate.is_some() != settings.key.is_some() {
            return Err("upstream_certificate: needs upstream_key, and the reverse".to_owned());
        }
        settings.peppers = settings.read_peppers()?;
        Ok(settings)
    }
}

impl Settings {
    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let is_list = matches!(name, "upstream" | "signers");
        if !is_list && self.set.contains(name) {
            return Err(format!("{name}: is set already"));
        }
        match name {
            "upstream" => self.upstreams.extend(each::<Upstream>(name, value)?),
            "signers" => self.signers.extend(each::<SignerKey>(name, value)?),
            "credential_file" => self.credential_file = Some(path(name, value)?),
            "upstream_ca" => self.ca = Some(path(name, value)?),
            "upstream_certificate" => self.certificate = Some(path(name, value)?),
            "upstream_key" => self.key = Some(path(name, value)?),
            "only" => self.only = Some(part(value)?),
            "state" => self.state = Some(path(name, value)?),
            "stale_after" => self.stale_after = duration(name, value)?,
            "flush_every" => self.flush_every = duration(name, value)?,
            "prefix" => {
                let format = KeyFormat::new(value);
                self.prefix = Some(format.map_err(|error| format!("{name}: {error}"))?);
            }
            "name" => value.clone_into(&mut self.name),
            "pepper_current" => self.pepper_current = Some(pepper(name, value)?),
            _ => match name.strip_prefix("pepper_file_") {
                Some(number) => {
                    let id = pepper("pepper_file", number)?;
                    self.pepper_files.push((id, path("pepper_file", value)?));
                }
                // The name is not repeated: it may be a value by mistake.
                None => return Err("name: there is no option of this name".to_owned()),
            },
        }
        self.set.insert(name.to_owned());
        Ok(())
    }

    fn read_peppers(&self) -> Result<Peppers, String> {
        let mut peppers = Peppers::none();
        for (id, file) in &self.pepper_files {
            let read = fs::read(file).map(Zeroizing::new).map_err(|error| {
                format!("pepper_file_{}: {}: {error}", id.get(), file.display())
            })?;
            let pepper = read.strip_suffix(b"\n").unwrap_or(&read);
            let added = if self.pepper_current == Some(*id) {
                peppers.with_current(*id, pepper)
            } else {
                peppers.with(*id, pepper)
            };
            peppers = added.map_err(|error| error.to_string())?;
        }
        if self.pepper_current != peppers.current_id() {
            return Err("pepper_current: there is no file of this pepper".to_owned());
        }
        Ok(peppers)
    }

    pub(crate) fn format(&self) -> Option<KeyFormat> {
        self.prefix
    }

    /// Makes a source, which reads the files.
    pub(crate) fn source(&self) -> Result<HttpSource, String> {
        let trust = Trust::pinned(self.signers.iter().copied()).map_err(|error| chain(&error))?;
        let mut builder = HttpSource::builder(trust)
            .name(&self.name)
            .reported_bound(self.stale_after);
        for upstream in &self.upstreams {
            builder = builder.upstream(upstream.clone());
        }
        if let Some(file) = &self.credential_file {
            builder = builder.key_file(file);
        }
        if let Some(file) = &self.ca {
            builder = builder.root_certificates(file);
        }
        if let (Some(certificate), Some(key)) = (&self.certificate, &self.key) {
            builder = builder.client_certificate(certificate, key);
        }
        if let Some(part) = &self.only {
            builder = builder.filter(part.clone());
        }
        if let Some(folder) = &self.state {
            builder = builder.saved_in(folder);
        }
        builder.build().map_err(|error| chain(&error))
    }

    pub(crate) fn follower(&self, source: HttpSource, format: KeyFormat) -> Follower {
        Follower::from_source(source, format)
            .stale_after(self.stale_after)
            .flush_usage_every(self.flush_every)
            .peppers(self.peppers.clone())
    }
}

fn each<T: FromStr<Err: fmt::Display>>(name: &str, list: &str) -> Result<Vec<T>, String> {
    let items = list.split(',').map(|item| item.trim().parse());
    items
        .collect::<Result<_, T::Err>>()
        .map_err(|error| format!("{name}: {error}"))
}

fn path(name: &str, text: &str) -> Result<PathBuf, String> {
    if text.is_empty() || text.contains('\0') {
        return Err(format!("{name}: must be a path"));
    }
    Ok(text.into())
}

fn duration(name: &str, text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| format!("{name}: must be a duration, as in 5s"))
}

fn pepper(name: &str, number: &str) -> Result<PepperId, String> {
    let number = number.parse().ok().and_then(PepperId::new);
    number.ok_or_else(|| format!("{name}: the number of a pepper must be 1 to 255"))
}

/// Reads `TEAM`, or `TEAM/NAMESPACE` one or more times.
fn part(text: &str) -> Result<Filter, String> {
    let invalid =
        || "only: must be a team, or namespaces as in acme/orders,acme/billing".to_owned();
    if !text.contains(['/', ',']) {
        let team = TeamId::new(text);
        return team.map(Filter::Team).map_err(|_| invalid());
    }
    let tenant = |part: &str| {
        let (team, namespace) = part.trim().rsplit_once('/')?;
        let (team, namespace) = (TeamId::new(team).ok()?, NamespaceId::new(namespace).ok()?);
        Some(Tenant::new(team, namespace))
    };
    let tenants: Option<Vec<_>> = text.split(',').map(tenant).collect();
    Filter::namespaces(tenants.ok_or_else(invalid)?).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNER: &str = "keyfob-feed-v1:BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU";

    fn set(options: &[(&str, &str)]) -> Result<Settings, String> {
        let mut settings = KeyfobOptions::default();
        for (name, value) in options {
            settings.0.set(name, value)?;
        }
        settings.settings()
    }

    #[test]
    fn every_option_can_be_set() {
        let folder = tempfile::tempdir().unwrap();
        let pepper = folder.path().join("pepper");
        fs::write(&pepper, [b'p'; 40]).unwrap();
        let settings = set(&[
            ("upstream", "https://one.example, https://two.example:8443"),
            ("upstream", "unix:/run/keyfob.sock"),
            ("signers", SIGNER),
            ("credential_file", "/etc/keyfob/key"),
            ("upstream_ca", "/etc/keyfob/ca.pem"),
            ("upstream_certificate", "/etc/keyfob/client.pem"),
            ("upstream_key", "/etc/keyfob/client.key"),
            ("only", "acme/orders,acme/billing"),
            ("state", "/var/lib/keyfob"),
            ("stale_after", "8s"),
            ("flush_every", "1m"),
            ("prefix", "acme"),
            ("name", "nginx-1"),
            ("pepper_file_7", pepper.to_str().unwrap()),
            ("pepper_current", "7"),
        ])
        .unwrap();
        assert_eq!(settings.upstreams.len(), 3);
        assert_eq!(settings.stale_after, Duration::from_secs(8));
        assert_eq!(settings.flush_every, Duration::from_mins(1));
        assert_eq!(settings.peppers.current_id(), PepperId::new(7));
        assert!(matches!(settings.only, Some(Filter::Namespaces(_))));
    }

    #[test]
    fn an_error_names_the_option_and_not_its_value() {
        for (options, text) in [
            (
                &[("secret", "hunter2")][..],
                "name: there is no option of this name",
            ),
            (
                &[("upstream", "hunter2")],
                "upstream: upstream: must begin with https:, http:, unix: or file:",
            ),
            (&[("signers", "hunter2")], "signers: signer: must be"),
            (
                &[("stale_after", "hunter2")],
                "stale_after: must be a duration",
            ),
            (
                &[("stale_after", "5s"), ("stale_after", "6s")],
                "stale_after: is set already",
            ),
            (&[("only", "hunter2/")], "only: must be a team"),
            (&[("prefix", "HUNTER2")], "prefix: "),
            (&[("state", "")], "state: must be a path"),
            (&[("pepper_file_0", "hunter2")], "pepper_file: the number"),
            (
                &[("pepper_current", "1")],
                "pepper_current: there is no file",
            ),
            (
                &[("upstream_key", "hunter2")],
                "upstream_certificate: needs upstream_key",
            ),
        ] {
            let error = set(options).unwrap_err();
            assert!(error.starts_with(text), "{error}");
            assert!(!error.to_lowercase().contains("hunter2"), "{error}");
        }
        for (options, text) in [
            (&[][..], "signers: there must be at least one"),
            (
                &[("signers", SIGNER)],
                "upstreams: there must be at least one",
            ),
            (
                &[("signers", SIGNER), ("upstream", "https://one.example")],
                "key: there must be one",
            ),
        ] {
            let error = set(options).unwrap().source().unwrap_err();
            assert!(error.starts_with(text), "{error}");
        }
    }
}
