//! `keyfob verify`

use std::io::{self, IsTerminal, Read};

use clap::Args;
use keyfob::{Access, Denied, DenyReason, Principal, name::Scope};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::{
    command_context::CommandContext,
    exit::Exit,
    failure::Failure,
    key_view::ScopesView,
    terminal::{TableView, Tone},
};

/// Verify a credential from the standard input, as a gateway would
///
/// The input is a credential (`dof_v1_…:dof_sk_…`, or a legacy one), or the value of an
/// `Authorization` header field (`Basic …`, `Bearer …`). The exit code is 0 if it is accepted and 1
/// if it is refused; unlike a gateway, the output has the reason. No usage is recorded.
#[derive(Args, Debug)]
pub(crate) struct Verify {
    /// A required scope; can be repeated
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<Scope>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Verdict {
    Accepted {
        accepted: bool,
        key: String,
        kind: &'static str,
        team: String,
        namespace: String,
        owner: Option<String>,
        subject: Option<String>,
        scopes: ScopesView,
        expires_at: Option<String>,
        replaced_secret: bool,
    },
    Refused {
        accepted: bool,
        status: u16,
        reason: &'static str,
        key: Option<String>,
    },
}

impl Verify {
    pub(crate) async fn run(self, cx: &CommandContext) -> Result<Exit, Failure> {
        let text = read()?;
        let verifier = cx.verifier().await?;
        let namespace = cx.any_namespace();
        let access = match &namespace {
            Some(namespace) => Access::to(namespace.as_str()),
            None => Access::to_own_namespace(),
        };
        let access = access.requiring(&self.scopes);
        let bytes = text.trim_ascii();
        let outcome = if bytes.contains(&b' ') {
            verifier.verify_header(bytes, &access, cx.now)
        } else {
            verifier.verify_text(bytes, &access, cx.now)
        };
        let (exit, verdict) = match outcome {
            Ok(principal) => (Exit::Done, accepted(cx, &principal)),
            Err(denied) if denied.reason() == DenyReason::PepperMissing => {
                return Err(Failure::usage(
                    "the key's digest needs a pepper that is not configured",
                )
                .hint("`keyfob config show` lists the configured peppers"));
            }
            Err(denied) => (Exit::Refused, refused(cx, denied)),
        };
        cx.terminal.answer(&verdict, Verdict::table)?;
        Ok(exit)
    }
}

/// Reads the credential, without echo from a terminal.
fn read() -> Result<Zeroizing<Vec<u8>>, Failure> {
    if io::stdin().is_terminal() {
        let typed = rpassword::prompt_password("credential: ");
        return Ok(Zeroizing::new(typed?.into_bytes()));
    }
    // One allocation of the final size: a growing vector leaves copies in memory.
    let mut text = Zeroizing::new(Vec::with_capacity(LONGEST + 1));
    let mut input = io::stdin().lock().take(LONGEST as u64 + 1);
    input.read_to_end(&mut text)?;
    match text.trim_ascii().len() {
        0 => Err(Failure::usage("no credential on the standard input")
            .hint("use `keyfob verify < FILE`; an argument could be read by other processes")),
        length if length > LONGEST => Err(Failure::usage(
            "more than one credential on the standard input",
        )),
        _ => Ok(text),
    }
}

/// Longer than any header field with a credential.
const LONGEST: usize = 4096;

fn accepted(cx: &CommandContext, principal: &Principal<'_>) -> Verdict {
    Verdict::Accepted {
        accepted: true,
        key: cx.format().credential_id(principal.credential()),
        kind: if principal.key_id().is_some() {
            "key"
        } else {
            "legacy"
        },
        team: principal.team().to_string(),
        namespace: principal.namespace().to_string(),
        owner: principal.owner().map(|owner| owner.to_string()),
        subject: principal
            .legacy_subject()
            .map(|subject| subject.to_string()),
        scopes: (&principal.scopes()).into(),
        expires_at: principal.expires_at().map(|end| end.to_string()),
        replaced_secret: principal.used_replaced_secret(),
    }
}

fn refused(cx: &CommandContext, denied: Denied) -> Verdict {
    Verdict::Refused {
        accepted: false,
        status: denied.status(),
        reason: denied.reason().as_str(),
        key: denied.credential().map(|id| cx.format().credential_id(id)),
    }
}

impl Verdict {
    fn table(&self) -> TableView {
        let mut table = TableView::pairs();
        match self {
            Self::Accepted {
                key,
                kind,
                team,
                namespace,
                owner,
                subject,
                scopes,
                expires_at,
                replaced_secret,
                ..
            } => {
                table
                    .toned_pair("verdict", "accepted", Tone::Good)
                    .pair(kind, key)
                    .pair("namespace", format!("{namespace} (team {team})"))
                    .pair_if("owner", owner.as_ref())
                    .pair_if("subject", subject.as_ref())
                    .pair("scopes", scopes)
                    .pair("expires", expires_at.as_deref().unwrap_or("never"));
                if *replaced_secret {
                    table.toned_pair(
                        "note",
                        "the secret was replaced; it works until its grace period ends",
                        Tone::Warning,
                    );
                }
            }
            Self::Refused {
                status,
                reason,
                key,
                ..
            } => {
                table
                    .toned_pair("verdict", "refused", Tone::Bad)
                    .pair("reason", reason)
                    .pair("HTTP status", status)
                    .pair_if("key", key.as_ref());
            }
        }
        table
    }
}
