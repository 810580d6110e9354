//! The versions that were built, by the lock file.

/// The version of a package that this one depends on directly.
pub(crate) fn version(package: &str) -> Option<&'static str> {
    let blocks = || LOCK.split("[[package]]").skip(1);
    let own = blocks().find(|block| field(block, "name") == Some(env!("CARGO_PKG_NAME")))?;
    // Where the tree has several versions of a package, a dependency is "name version".
    let dependency = own
        .lines()
        .filter_map(|line| line.trim().strip_prefix('"')?.strip_suffix("\","))
        .find(|line| line.split(' ').next() == Some(package))?;
    match dependency.split_once(' ') {
        Some((_, version)) => Some(version),
        None => blocks()
            .find(|block| field(block, "name") == Some(package))
            .and_then(|block| field(block, "version")),
    }
}

fn field<'a>(block: &'a str, name: &str) -> Option<&'a str> {
    block.lines().find_map(|line| {
        let value = line.strip_prefix(name)?.strip_prefix(" = \"")?;
        value.strip_suffix('"')
    })
}

const LOCK: &str = include_str!("../Cargo.lock");

#[cfg(test)]
mod tests {
    use super::version;
    use crate::rivals;

    #[test]
    fn every_rival_has_its_version() {
        for rival in rivals::all() {
            assert!(version(rival.facts().package).is_some());
        }
        assert!(version("argon2").is_some_and(|version| version.starts_with("0.6.")));
        assert_eq!(version("libc"), None);
    }
}
