//! Verifying a request.

use std::{
    ffi::c_char,
    fmt::{self, Write as _},
    ptr,
};

use keyfob::{
    Access, Denied, DenyReason, Principal, Scopes,
    gateway::{OwnedPrincipal, PrincipalKind},
    name::Scope,
};

use crate::{
    clock,
    replica::KeyfobReplica,
    result::{KeyfobResult, guarded},
    view::{KeyfobView, list},
    worker::Started,
};

/// The room for the id of a credential, with its NUL.
pub const KEYFOB_CREDENTIAL_SIZE: usize = 64;
/// The room for the owner of a key, with its NUL.
pub const KEYFOB_OWNER_SIZE: usize = 144;
/// The room for the scopes of a key, with its NUL: 64 scopes of 64 characters.
pub const KEYFOB_SCOPES_SIZE: usize = 4168;
/// A flag of a verdict: the secret was replaced by a rotation, and its grace period still runs.
pub const KEYFOB_REPLACED_SECRET: u32 = 1;

/// What is asked of a replica. Set all members that are not used to zero.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct KeyfobQuestion {
    /// The size of this structure: sizeof(keyfob_question).
    pub size: usize,
    /// The values of all `Authorization` fields of the request. Pass all of them: a request with two
    /// is refused, since another program may read the other one.
    pub authorization: *const KeyfobView,
    /// The number of these values. With none, the request is refused with 401.
    pub authorization_count: usize,
    /// The namespace that the request goes to. It must not be empty.
    pub namespace_id: KeyfobView,
    /// 1 to ask for the namespace that the credential opens, which the verdict names: `namespace_id` must
    /// then be empty, and the request must be served in that namespace. Otherwise 0.
    pub own_namespace: u32,
    /// The scopes that the key must have, 64 at most. Without any, verification allocates no memory.
    pub scopes: *const KeyfobView,
    /// The number of these scopes.
    pub scopes_count: usize,
}

/// What is answered.
///
/// Its views are borrowed. `reason` lives as long as the program; `namespace_id` and `team_id` live until
/// keyfob_close.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct KeyfobVerdict {
    /// The size of this structure: set it to sizeof(keyfob_verdict) before the call.
    pub size: usize,
    /// The HTTP status to answer a refused call with: 401, 403 or 503; 200 if the call may pass.
    pub status: u32,
    /// 0, or KEYFOB_REPLACED_SECRET.
    pub flags: u32,
    /// The first Unix second at which the credential no longer works; INT64_MAX if there is none.
    pub expires_at: i64,
    /// Why the call is refused, as in `unknown_key`, for logs: do not show it to the caller.
    pub reason: KeyfobView,
    /// The namespace that the call may use; empty if it is refused.
    pub namespace_id: KeyfobView,
    /// The team of the namespace; empty if the call is refused.
    pub team_id: KeyfobView,
    /// The public id of the credential, which ends with NUL. If the call is refused, it is empty
    /// unless the secret was right.
    pub credential: [c_char; KEYFOB_CREDENTIAL_SIZE],
}

/// The kind of a credential.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyfobKind {
    /// The call was refused.
    KeyfobNone = 0,
    /// A person's key.
    KeyfobPersonal = 1,
    /// A service's key.
    KeyfobService = 2,
    /// A legacy credential, which several people share.
    KeyfobLegacy = 3,
}

/// Who calls. The texts end with NUL.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct KeyfobIdentity {
    /// The size of this structure: set it to sizeof(keyfob_identity) before the call.
    pub size: usize,
    /// The kind of the credential.
    pub kind: KeyfobKind,
    /// The number of characters in `owner`.
    pub owner_length: u32,
    /// The number of characters in `scopes`.
    pub scopes_length: u32,
    /// The owner of the key, as in `user:alice` or `service:bot`; `subject:` and a name, or nothing, for
    /// a legacy credential. Empty if the call is refused.
    pub owner: [c_char; KEYFOB_OWNER_SIZE],
    /// The scopes of the key, separated by spaces; `*` for all. Empty if the call is refused.
    pub scopes: [c_char; KEYFOB_SCOPES_SIZE],
}

/// Verifies the credential of a request: from memory, without locks and system calls.
///
/// `verdict` is always written if it has a right size. `identity` says who calls; it may be NULL, which
/// saves a look-up.
///
/// Returns KEYFOB_OK if the call may pass, and only then. KEYFOB_REFUSED is a decision; every
/// other value is a mistake of the calling program or a bug: the verdict's status is 503, and its
/// reason tells which.
///
/// The time is that of the system's clock at the call. Call it when the head of the request was read,
/// and act on the answer at once: a key may be revoked in the next moment.
///
/// # Safety
///
/// `replica` is NULL or of keyfob_open and not closed. The other pointers are NULL, or point to
/// structures of the size that their first member says. What the question points to can be read and
/// does not change during the call.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn keyfob_verify(
    replica: *const KeyfobReplica,
    question: *const KeyfobQuestion,
    verdict: *mut KeyfobVerdict,
    identity: *mut KeyfobIdentity,
) -> KeyfobResult {
    // SAFETY: the caller vouches for the pointers.
    let Some(out) = (unsafe { Out::new(verdict, identity) }) else {
        return KeyfobResult::KeyfobInvalid;
    };
    let panicked = || Err(Fault::new(KeyfobResult::KeyfobPanicked, "panicked"));
    // SAFETY: the caller vouches for the pointers.
    let answered = guarded(panicked, || unsafe { answer(replica, question, &out) });
    match answered {
        Ok(()) => KeyfobResult::KeyfobOk,
        Err(fault) => {
            out.refuse(&fault);
            fault.result
        }
    }
}

/// Why a call does not pass.
struct Fault {
    result: KeyfobResult,
    status: u16,
    reason: &'static str,
    credential: [c_char; KEYFOB_CREDENTIAL_SIZE],
}

impl Fault {
    /// With the status 503.
    const fn new(result: KeyfobResult, reason: &'static str) -> Self {
        Self {
            result,
            status: 503,
            reason,
            credential: [0; KEYFOB_CREDENTIAL_SIZE],
        }
    }

    const fn invalid(reason: &'static str) -> Self {
        Self::new(KeyfobResult::KeyfobInvalid, reason)
    }

    /// A decision that is not possible now.
    const fn unavailable(reason: &'static str) -> Self {
        Self::new(KeyfobResult::KeyfobRefused, reason)
    }

    #[cold]
    fn denied(denied: Denied, started: &Started) -> Self {
        let mut fault = Self {
            result: KeyfobResult::KeyfobRefused,
            status: denied.status(),
            reason: denied.reason().as_str(),
            credential: [0; KEYFOB_CREDENTIAL_SIZE],
        };
        if let Some(id) = denied.credential() {
            let mut text = [0; KEYFOB_CREDENTIAL_SIZE];
            if started.ids.write(id, &mut text).is_some() {
                fault.credential = text.map(u8::cast_signed_char);
            }
        }
        fault
    }
}

/// `c_char` is signed on some systems only.
trait CastSignedChar {
    fn cast_signed_char(self) -> c_char;
}

impl CastSignedChar for u8 {
    fn cast_signed_char(self) -> c_char {
        c_char::from_ne_bytes([self])
    }
}

/// Decides, and writes the verdict of a call that may pass.
///
/// # Safety
///
/// As of `keyfob_verify`.
#[inline]
unsafe fn answer(
    replica: *const KeyfobReplica,
    question: *const KeyfobQuestion,
    out: &Out,
) -> Result<(), Fault> {
    if question.is_null() || !question.is_aligned() {
        return Err(Fault::invalid("null_question"));
    }
    // SAFETY: the caller vouches for the pointers.
    let (replica, size) = unsafe { (replica.as_ref(), (&raw const (*question).size).read()) };
    let replica = replica.ok_or(Fault::invalid("null_replica"))?;
    if size < size_of::<KeyfobQuestion>() {
        return Err(Fault::invalid("question_size"));
    }
    // SAFETY: it is as long as this, as the caller says in `size`.
    let question = unsafe { question.read() };
    // SAFETY: the caller vouches for what the question points to.
    let (fields, scopes, namespace) = unsafe {
        (
            list(question.authorization, question.authorization_count),
            list(question.scopes, question.scopes_count),
            question.namespace_id.bytes(),
        )
    };
    let fields = fields.ok_or(Fault::invalid("authorization"))?;
    let scopes = scopes.ok_or(Fault::invalid("scopes"))?;
    let namespace = namespace
        .and_then(|namespace| str::from_utf8(namespace).ok())
        .ok_or(Fault::invalid("namespace"))?;
    let access = match (question.own_namespace, namespace.is_empty()) {
        (0, false) => Access::to(namespace),
        (1, true) => Access::to_own_namespace(),
        _ => return Err(Fault::invalid("namespace")),
    };
    if !replica.opened_in.is_this() {
        return Err(Fault::new(KeyfobResult::KeyfobForked, "forked"));
    }
    let Some(started) = replica.shared.started() else {
        return Err(Fault::unavailable(DenyReason::NotReady.as_str()));
    };
    let field = match fields {
        [] => None,
        // SAFETY: the caller vouches for the bytes.
        [field] => Some(unsafe { field.bytes() }.ok_or(Fault::invalid("authorization"))?),
        // The verifier refuses them unread.
        [..] => return decide(started, &[b"", b""], &access, scopes, out),
    };
    match field {
        None => decide(started, &[], &access, scopes, out),
        Some(field) => decide(started, &[field], &access, scopes, out),
    }
}

#[inline]
fn decide(
    started: &Started,
    fields: &[&[u8]],
    access: &Access<'_>,
    scopes: &[KeyfobView],
    out: &Out,
) -> Result<(), Fault> {
    let now = clock::moment();
    let paused = || Fault::unavailable("paused");
    let open = started.gate.enter(now).ok_or_else(paused)?;
    let now = now.time;
    let fields = fields.iter().copied();
    let verified = if scopes.is_empty() {
        started.verifier.verify_headers(fields, access, now)
    } else {
        let scopes = parsed(scopes)?;
        let access = access.requiring(&scopes);
        started.verifier.verify_headers(fields, &access, now)
    };
    if !started.gate.is_open(open, clock::moment()) {
        return Err(paused());
    }
    match verified {
        Ok(principal) => out.accept(&principal, started),
        Err(denied) => Err(Fault::denied(denied, started)),
    }
}

#[cold]
fn parsed(scopes: &[KeyfobView]) -> Result<Vec<Scope>, Fault> {
    if scopes.len() > Scopes::MAX {
        return Err(Fault::invalid("scopes"));
    }
    let parsed = scopes.iter().map(|scope| {
        // SAFETY: the caller of `keyfob_verify` vouches for the bytes.
        let scope = unsafe { scope.bytes() }?;
        Scope::new(str::from_utf8(scope).ok()?).ok()
    });
    parsed
        .collect::<Option<_>>()
        .ok_or(Fault::invalid("scopes"))
}

/// The structures that are written.
struct Out {
    verdict: *mut KeyfobVerdict,
    verdict_size: usize,
    /// Null if it is not asked for.
    identity: *mut KeyfobIdentity,
}

impl Out {
    /// `None` if a structure has a wrong size.
    ///
    /// # Safety
    ///
    /// The pointers are null, or their structures have the size that their first member says, and can be
    /// written while this exists.
    unsafe fn new(verdict: *mut KeyfobVerdict, identity: *mut KeyfobIdentity) -> Option<Self> {
        if verdict.is_null() || !verdict.is_aligned() {
            return None;
        }
        // SAFETY: the caller vouches for the pointer; only its first member is read.
        let verdict_size = unsafe { (&raw const (*verdict).size).read() };
        if verdict_size < size_of::<KeyfobVerdict>() {
            return None;
        }
        let out = Self {
            verdict,
            verdict_size,
            identity,
        };
        if identity.is_null() {
            return Some(out);
        }
        if !identity.is_aligned() {
            out.write(&Fault::invalid("identity"));
            return None;
        }
        // SAFETY: as above.
        let identity_size = unsafe { (&raw const (*identity).size).read() };
        if identity_size < size_of::<KeyfobIdentity>() {
            out.write(&Fault::invalid("identity_size"));
            return None;
        }
        Some(out)
    }

    /// Writes the verdict of a call that may pass.
    #[inline]
    fn accept(&self, principal: &Principal<'_>, started: &Started) -> Result<(), Fault> {
        let too_long = || Fault::new(KeyfobResult::KeyfobPanicked, "too_long");
        let mut credential = [0; KEYFOB_CREDENTIAL_SIZE];
        let id = principal.credential();
        started
            .ids
            .write(id, &mut credential)
            .ok_or_else(too_long)?;
        if !self.identity.is_null() {
            self.identify(&principal.to_owned())
                .map_err(|_| too_long())?;
        }
        let flags = if principal.used_replaced_secret() {
            KEYFOB_REPLACED_SECRET
        } else {
            0
        };
        let verdict = KeyfobVerdict {
            size: self.verdict_size,
            status: 200,
            flags,
            expires_at: principal
                .expires_at()
                .map_or(i64::MAX, keyfob::Timestamp::as_unix),
            reason: KeyfobView::EMPTY,
            namespace_id: KeyfobView::of(principal.namespace().as_str()),
            team_id: KeyfobView::of(principal.team().as_str()),
            credential: credential.map(u8::cast_signed_char),
        };
        // SAFETY: there is room for it, as its first member said.
        unsafe { self.verdict.write(verdict) };
        Ok(())
    }

    fn identify(&self, principal: &OwnedPrincipal) -> fmt::Result {
        let mut owner = Text::<KEYFOB_OWNER_SIZE>::new();
        match (&principal.owner, &principal.legacy_subject) {
            (Some(name), _) => write!(owner, "{name}")?,
            (None, Some(subject)) => write!(owner, "subject:{subject}")?,
            (None, None) => {}
        }
        let mut scopes = Text::<KEYFOB_SCOPES_SIZE>::new();
        match &principal.scopes {
            Scopes::Only(names) => {
                for (at, scope) in names.iter().enumerate() {
                    let space = if at == 0 { "" } else { " " };
                    write!(scopes, "{space}{scope}")?;
                }
            }
            _ => scopes.write_str("*")?,
        }
        let kind = match principal.kind {
            PrincipalKind::Personal => KeyfobKind::KeyfobPersonal,
            PrincipalKind::Service => KeyfobKind::KeyfobService,
            _ => KeyfobKind::KeyfobLegacy,
        };
        self.write_identity(kind, &owner, &scopes);
        Ok(())
    }

    #[cold]
    fn refuse(&self, fault: &Fault) {
        if !self.identity.is_null() {
            self.write_identity(KeyfobKind::KeyfobNone, &Text::new(), &Text::new());
        }
        self.write(fault);
    }

    fn write(&self, fault: &Fault) {
        let verdict = KeyfobVerdict {
            size: self.verdict_size,
            status: fault.status.into(),
            flags: 0,
            expires_at: i64::MAX,
            reason: KeyfobView::of(fault.reason),
            namespace_id: KeyfobView::EMPTY,
            team_id: KeyfobView::EMPTY,
            credential: fault.credential,
        };
        // SAFETY: there is room for it, as its first member said.
        unsafe { self.verdict.write(verdict) };
    }

    /// Writes the identity, without the rest of its buffers.
    fn write_identity(
        &self,
        kind: KeyfobKind,
        owner: &Text<KEYFOB_OWNER_SIZE>,
        scopes: &Text<KEYFOB_SCOPES_SIZE>,
    ) {
        let to = self.identity;
        // SAFETY: the caller of `keyfob_verify` vouches for the structure, whose size was checked. The
        // texts are shorter than their buffers, which are elsewhere.
        unsafe {
            (&raw mut (*to).kind).write(kind);
            (&raw mut (*to).owner_length).write(owner.length());
            (&raw mut (*to).scopes_length).write(scopes.length());
            let owner = owner.with_nul();
            ptr::copy_nonoverlapping(owner.as_ptr(), (&raw mut (*to).owner).cast(), owner.len());
            let scopes = scopes.with_nul();
            ptr::copy_nonoverlapping(
                scopes.as_ptr(),
                (&raw mut (*to).scopes).cast(),
                scopes.len(),
            );
        }
    }
}

/// A text that ends with NUL in `N` bytes.
struct Text<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Text<N> {
    fn new() -> Self {
        Self {
            bytes: [0; N],
            length: 0,
        }
    }

    fn length(&self) -> u32 {
        // It is less than `N`.
        u32::try_from(self.length).unwrap_or(0)
    }

    fn with_nul(&self) -> &[u8] {
        &self.bytes[..=self.length]
    }
}

impl<const N: usize> fmt::Write for Text<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        // One byte is for the NUL.
        if end >= N {
            return Err(fmt::Error);
        }
        self.bytes[self.length..end].copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_is_written_if_the_identity_cannot_be() {
        let mut verdict = KeyfobVerdict {
            size: size_of::<KeyfobVerdict>(),
            status: 200,
            flags: 0,
            expires_at: 0,
            reason: KeyfobView::EMPTY,
            namespace_id: KeyfobView::EMPTY,
            team_id: KeyfobView::EMPTY,
            credential: [0; KEYFOB_CREDENTIAL_SIZE],
        };
        let misaligned = ptr::without_provenance_mut(align_of::<KeyfobIdentity>() + 1);
        // SAFETY: a pointer that is not aligned is not read.
        let result =
            unsafe { keyfob_verify(ptr::null(), ptr::null(), &raw mut verdict, misaligned) };
        assert_eq!(result, KeyfobResult::KeyfobInvalid);
        assert_eq!(verdict.status, 503);
    }
}
