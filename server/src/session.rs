//! Sessions for `isolation: session`: the handle that a stateless caller passes back, signed so that nobody can make one up,
//! and the end of sessions that nobody closes.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};

use hmac::{Hmac, KeyInit as _, Mac as _};
use policy::SessionId;
use sha2::Sha256;
use tokio_util::sync::CancellationToken;

use crate::{Host, StartError};

/// A stateless session that was not used for this long has ended.
const IDLE: Duration = Duration::from_secs(15 * 60);
/// How often ended sessions are looked for.
const SWEEP: Duration = Duration::from_secs(60);
/// The most stateless sessions at once; one more ends the one that was idle longest.
const MAX_SESSIONS: usize = 4_096;

/// The key in a request's and a result's `_meta`.
pub(crate) const META_KEY: &str = "pegboard/session";

/// The sessions of stateless callers. Their protocol has no end of a session, so being idle is one.
#[derive(Debug, Default)]
pub(crate) struct StatelessSessions {
    used: Mutex<HashMap<SessionId, Instant>>,
}

impl StatelessSessions {
    /// Takes down that a session is used. Returns the session that had to end for it.
    pub(crate) fn use_now(&self, session: &SessionId) -> Option<SessionId> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.insert(session.clone(), Instant::now());
        if used.len() <= MAX_SESSIONS {
            return None;
        }
        let oldest = used.iter().min_by_key(|(_, used)| **used).map(|(session, _)| session.clone())?;
        used.remove(&oldest);
        Some(oldest)
    }

    /// Whether the session is still there; its state would silently be another's beginning otherwise.
    pub(crate) fn is_open(&self, session: &SessionId) -> bool {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).contains_key(session)
    }

    fn take_idle(&self, now: Instant) -> Vec<SessionId> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let idle: Vec<SessionId> = used
            .iter()
            .filter(|(_, used)| now.saturating_duration_since(**used) >= IDLE)
            .map(|(session, _)| session.clone())
            .collect();
        for session in &idle {
            used.remove(session);
        }
        idle
    }
}

/// Ends stateless sessions that nobody uses, until the host stops.
pub(crate) async fn sweep(host: Weak<Host>, stopping: CancellationToken) {
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(SWEEP) => {}
        }
        let Some(host) = host.upgrade() else { return };
        host.held.forget_ended(Instant::now());
        for session in host.stateless.take_idle(Instant::now()) {
            host.end_session(&session).await;
        }
    }
}

/// Makes session ids and signs handles with a secret that lives as long as the process: a handle of an earlier process is
/// refused, as its session's state is gone.
pub struct SessionKeys {
    secret: [u8; 64],
}

impl std::fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionKeys(…)")
    }
}

impl SessionKeys {
    /// Takes a secret from the operating system.
    ///
    /// # Errors
    /// [`StartError::Random`].
    pub fn random() -> Result<Self, StartError> {
        Ok(Self { secret: random()? })
    }

    /// A new session that cannot be guessed.
    ///
    /// # Errors
    /// [`StartError::Random`].
    pub fn begin(&self) -> Result<SessionId, StartError> {
        Ok(SessionId(hex(&random::<16>()?).into()))
    }

    /// The handle of a session, for one caller only.
    #[must_use]
    pub fn handle(&self, session: &SessionId, caller: Option<&str>) -> String {
        let tag = self.mac(session, caller).finalize().into_bytes();
        format!("{}.{}", session.0, hex(&tag))
    }

    /// The session of a handle, if this process made it for this caller.
    #[must_use]
    pub fn verify(&self, handle: &str, caller: Option<&str>) -> Option<SessionId> {
        let (id, tag) = handle.split_once('.')?;
        if id.len() != 32 || tag.len() != 64 {
            return None;
        }
        let session = SessionId(id.into());
        self.mac(&session, caller).verify_slice(&unhex(tag)?).ok()?;
        Some(session)
    }

    fn mac(&self, session: &SessionId, caller: Option<&str>) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new(&self.secret.into());
        mac.update(session.0.as_bytes());
        mac.update(b"\0");
        mac.update(caller.unwrap_or_default().as_bytes());
        mac
    }
}

/// Random bytes of the operating system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], StartError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| StartError::Random { reason: error.to_string() })?;
    Ok(bytes)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    Some(digits?.chunks_exact(2).filter_map(|pair| Some(pair.first()? << 4 | pair.get(1)?)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_sessions_end_and_their_number_is_bounded() {
        let sessions = StatelessSessions::default();
        let session = |number: usize| SessionId(number.to_string().into());
        let ended: Vec<SessionId> = (0..=MAX_SESSIONS).filter_map(|number| sessions.use_now(&session(number))).collect();
        assert_eq!(ended, [session(0)]);
        assert!(!sessions.is_open(&session(0)) && sessions.is_open(&session(1)));
        assert!(sessions.take_idle(Instant::now()).is_empty());
        assert_eq!(sessions.take_idle(Instant::now() + IDLE).len(), MAX_SESSIONS);
        assert!(!sessions.is_open(&session(1)));
    }

    #[test]
    fn accepts_only_its_own_handles_from_the_same_caller() {
        let keys = SessionKeys::random().expect("randomness");
        let session = keys.begin().expect("randomness");
        let handle = keys.handle(&session, Some("alice"));
        assert_eq!(keys.verify(&handle, Some("alice")), Some(session.clone()));
        assert_eq!(keys.verify(&handle, Some("bob")), None);
        assert_eq!(keys.verify(&handle, None), None);
        assert_eq!(SessionKeys::random().expect("randomness").verify(&handle, Some("alice")), None);
        let last = if handle.ends_with('0') { '1' } else { '0' };
        let forged = format!("{}{last}", &handle[..handle.len() - 1]);
        assert_eq!(keys.verify(&forged, Some("alice")), None);
        for bad in ["", ".", "x.y", &handle[1..], &session.0] {
            assert_eq!(keys.verify(bad, Some("alice")), None, "{bad}");
        }
    }
}
