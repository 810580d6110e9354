//! People and services on the command line: `alice`, `user:alice`, `service:deploy-bot`.

use keyfob::{
    Owner,
    name::{NameError, ServiceId, UserId},
};

/// Reads a person (`alice`, `user:alice`) or a service (`service:deploy-bot`).
pub(crate) fn parse(text: &str) -> Result<Owner, NameError> {
    if let Some(service) = text.strip_prefix("service:") {
        return ServiceId::new(service).map(Owner::Service);
    }
    UserId::new(text.strip_prefix("user:").unwrap_or(text)).map(Owner::User)
}

/// The text that [`parse`] reads, with the kind in front.
pub(crate) fn text(owner: &Owner) -> String {
    match owner {
        Owner::User(id) => format!("user:{id}"),
        Owner::Service(id) => format!("service:{id}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_meant_unless_a_service_is_named() {
        for (given, written) in [
            ("alice", "user:alice"),
            ("user:alice", "user:alice"),
            ("service:deploy-bot", "service:deploy-bot"),
            ("user:service:odd", "user:service:odd"),
        ] {
            let owner = parse(given).unwrap();
            assert_eq!(text(&owner), written);
            assert_eq!(parse(written), Ok(owner));
        }
        assert!(parse("").is_err() && parse("user:").is_err() && parse("service:").is_err());
    }
}
