//! Peppers, from files or the environment, never from the command line.

use std::{collections::BTreeMap, fs};

use keyfob::key::{PepperId, Peppers};
use zeroize::Zeroizing;

use crate::{
    failure::{Failure, cause},
    private_file,
};

use super::{
    environment::{self, is_of_kubernetes},
    file::PepperFiles,
};

/// The peppers, the source of each, and warnings.
pub(super) type Loaded = (Peppers, Vec<(u8, String)>, Vec<String>);

/// Loads the peppers of the environment and the configuration file; the environment takes precedence.
///
/// `KEYFOB_PEPPER_FILE_<n>` names a file and `KEYFOB_PEPPER_<n>` is the pepper itself;
/// `KEYFOB_PEPPER_CURRENT` is the number of the one for new digests.
pub(super) fn load(file: Option<PepperFiles>) -> Result<Loaded, Failure> {
    let file = file.unwrap_or_default();
    let mut current = file.current;
    let mut sources: BTreeMap<u8, Source> = BTreeMap::new();
    for (number, path) in file.files {
        sources.insert(number_of(&number)?, Source::File(path));
    }
    for (name, value) in environment::set() {
        let Some(name) = name.to_str().and_then(|name| name.strip_prefix("KEYFOB_")) else {
            continue;
        };
        let Some(rest) = name.strip_prefix("PEPPER_") else {
            continue;
        };
        if value
            .to_str()
            .is_some_and(|value| is_of_kubernetes(name, value))
        {
            continue;
        }
        if rest == "CURRENT" {
            let number = value.to_str().unwrap_or_default();
            current = Some(number_of(number)?);
        } else if let Some(number) = rest.strip_prefix("FILE_") {
            sources.insert(number_of(number)?, Source::File(value.into()));
        } else {
            let bytes = Zeroizing::new(value.into_encoded_bytes());
            sources.insert(number_of(rest)?, Source::Environment(bytes));
        }
    }

    let mut peppers = Peppers::none();
    let (mut names, mut warnings) = (Vec::new(), Vec::new());
    for (number, source) in sources {
        let id = PepperId::new(number).ok_or_else(no_number)?;
        let (bytes, name) = match source {
            Source::File(path) => {
                warnings.extend(private_file::readable_by_others(&path));
                let bytes = fs::read(&path).map(Zeroizing::new).map_err(|error| {
                    Failure::usage(format!(
                        "pepper {number}: {}: {}",
                        path.display(),
                        cause(&error)
                    ))
                })?;
                (bytes, path.display().to_string())
            }
            Source::Environment(bytes) => (bytes, "environment".to_owned()),
        };
        let pepper = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        let added = if current == Some(number) {
            peppers.with_current(id, pepper)
        } else {
            peppers.with(id, pepper)
        };
        peppers = added.map_err(|error| {
            Failure::usage(error.to_string())
                .hint("create one with `openssl rand -base64 48 > FILE`")
        })?;
        names.push((number, name));
    }
    if let Some(number) = current {
        if peppers.current_id().is_none() {
            return Err(Failure::usage(format!(
                "the current pepper {number} is not configured"
            )));
        }
    } else if let [(number, _), ..] = &names[..] {
        warnings.push(format!(
            "peppers are configured, but none is current, so new keys have no pepper: set `peppers.current = {number}`"
        ));
    }
    Ok((peppers, names, warnings))
}

enum Source {
    File(std::path::PathBuf),
    Environment(Zeroizing<Vec<u8>>),
}

fn number_of(text: &str) -> Result<u8, Failure> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(no_number()),
    }
}

fn no_number() -> Failure {
    Failure::usage("the number of a pepper must be 1 to 255")
}
