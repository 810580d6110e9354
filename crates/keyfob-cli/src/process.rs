//! This process: no core dumps, enough open files, and the host that it runs on.

/// Turns core dumps off, since they would hold secrets, and keeps other processes of the same user
/// from reading the memory. What the system does not allow stays as it is.
pub(crate) fn protect_memory() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};

        let none = Rlimit {
            current: Some(0),
            maximum: Some(0),
        };
        // Lowering a limit is always allowed.
        let _ = setrlimit(Resource::Core, none);
    }
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};

        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
}

/// Raises the limit on open files to `needed` as far as the system allows it, and returns the limit;
/// none for no limit.
pub(crate) fn raise_open_files(needed: u64) -> Option<u64> {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

        let limit = getrlimit(Resource::Nofile);
        let wanted = limit.maximum.map_or(needed, |most| most.min(needed));
        if limit.current.is_some_and(|current| current < wanted) {
            let raised = Rlimit {
                current: Some(wanted),
                ..limit
            };
            // If it fails, the limit that is read next says so.
            let _ = setrlimit(Resource::Nofile, raised);
        }
        getrlimit(Resource::Nofile).current
    }
    #[cfg(not(unix))]
    {
        let _ = needed;
        None
    }
}

/// The name of the host; none if it has none.
pub(crate) fn host_name() -> Option<String> {
    #[cfg(unix)]
    {
        let system = rustix::system::uname();
        let name = system.nodename().to_str().ok()?;
        (!name.is_empty()).then(|| name.to_owned())
    }
    #[cfg(not(unix))]
    {
        None
    }
}
