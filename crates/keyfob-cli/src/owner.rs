//! People and services on the command line: `alice`, `user:alice`, `service:deploy-bot`.

use keyfob::{
    Owner,
    manage::OwnerError,
    name::{NameError, ServiceId, UserId},
};

/// Parses a person (`alice`, `user:alice`) or a service (`service:deploy-bot`).
pub(crate) fn parse(text: &str) -> Result<Owner, OwnerError> {
    match text.parse() {
        Err(OwnerError::Kind) => Ok(Owner::User(UserId::new(text)?)),
        parsed => parsed,
    }
}

/// Parses the name of a person, `alice` or `user:alice`.
pub(crate) fn parse_user(text: &str) -> Result<UserId, OwnerFault> {
    match parse(text)? {
        Owner::User(user) => Ok(user),
        Owner::Service(_) => Err(OwnerFault::Service),
    }
}

/// Parses the name of a service, `deploy-bot` or `service:deploy-bot`.
pub(crate) fn parse_service(text: &str) -> Result<ServiceId, OwnerFault> {
    match text.parse() {
        Ok(Owner::Service(service)) => Ok(service),
        Ok(Owner::User(_)) => Err(OwnerFault::User),
        Err(OwnerError::Kind) => Ok(ServiceId::new(text)?),
        Err(error) => Err(error.into()),
    }
}

/// A text does not name an owner of the kind that the command takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OwnerFault {
    #[error("this is a service: use `keyfob services`")]
    Service,
    #[error("this is a person: use `keyfob members`")]
    User,
    #[error(transparent)]
    Owner(#[from] OwnerError),
}

impl From<NameError> for OwnerFault {
    fn from(error: NameError) -> Self {
        Self::Owner(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_kind_is_a_person() {
        for (given, written) in [
            ("alice", "user:alice"),
            ("user:alice", "user:alice"),
            ("service:deploy-bot", "service:deploy-bot"),
            ("user:service:odd", "user:service:odd"),
        ] {
            let owner = parse(given).unwrap();
            assert_eq!(owner.to_string(), written);
            assert_eq!(parse(written), Ok(owner));
        }
        assert!(parse("").is_err() && parse("user:").is_err() && parse("service:").is_err());
    }

    #[test]
    fn a_command_about_one_kind_takes_its_names_with_and_without_the_kind() {
        assert_eq!(parse_user("user:alice"), parse_user("alice"));
        assert_eq!(parse_user("alice").unwrap().as_str(), "alice");
        assert_eq!(parse_user("service:bot"), Err(OwnerFault::Service));
        assert_eq!(parse_service("service:bot"), parse_service("bot"));
        assert_eq!(parse_service("bot").unwrap().as_str(), "bot");
        assert_eq!(parse_service("user:alice"), Err(OwnerFault::User));
        assert!(parse_user("user:").is_err() && parse_service("service:").is_err());
    }
}
