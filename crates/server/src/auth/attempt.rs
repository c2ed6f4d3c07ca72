//! Attempts to get in: counted before anything is compared, compared at the same cost whether or not there is such a
//! user, and told of in the audit trail whatever comes of them.

use super::NoRandomness;
use super::cookie::SessionSecret;
use super::password::PasswordError;
use super::recovery;
use super::throttle::{AccountBrake, Wait};
use super::totp::TotpSecret;
use super::visit::Visit;
use crate::app::App;
use crate::metrics;
use clinic::UserId;
use secrecy::SecretString;
use store::audit::{Actor, AuditOutcome};
use store::{BrakeState, Credentials, LiveSession, NewSession, SessionStage, SignIn, Store, StoreError};

/// How often an attempt is counted anew because another one was faster.
const RACES_MAX: usize = 8;

/// Why somebody does not get in.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// Too many attempts.
    #[error(transparent)]
    Wait(#[from] Wait),
    /// Something typed was wrong. Which part is not said.
    #[error("this is not right")]
    Wrong,
    /// Too much to do at the moment.
    #[error("too many sign-ins at once; try again in a second")]
    Busy,
    /// The store or the machine did not do its part.
    #[error("the server cannot do this at the moment; try again later")]
    Unavailable,
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "sign-in failed");
        Self::Unavailable
    }
}

impl From<NoRandomness> for Refused {
    fn from(error: NoRandomness) -> Self {
        tracing::error!(%error, "sign-in failed");
        Self::Unavailable
    }
}

impl From<PasswordError> for Refused {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy => Self::Busy,
            PasswordError::TooLong => Self::Wrong,
            error => {
                tracing::error!(%error, "sign-in failed");
                Self::Unavailable
            }
        }
    }
}

/// An attempt that was counted as a failure, which it stays unless it succeeds.
struct Counted {
    sign_in: SignIn,
    brake: AccountBrake,
}

/// Counts an attempt under a name, or of an account. Until this is done nothing may be compared.
async fn count(
    app: &App,
    visit: &Visit,
    whose: Result<&UserId, &str>,
    attempted: &'static str,
) -> Result<Counted, Refused> {
    for _ in 0..RACES_MAX {
        let sign_in = match whose {
            Ok(id) => app.store.sign_in_of(id).await?,
            Err(name) => app.store.sign_in_under(name).await?,
        };
        let BrakeState { failures, locked_until_us } = sign_in.brake;
        let brake = match (AccountBrake { failures, locked_until_us }).attempt(visit.now_us) {
            Ok(brake) => brake,
            Err(wait) => {
                note_refusal(app, visit, &sign_in, attempted, "locked", None).await?;
                return Err(wait.into());
            }
        };
        let next = BrakeState { failures: brake.failures, locked_until_us: brake.locked_until_us };
        if app.store.note_attempt(&sign_in, next).await? {
            return Ok(Counted { sign_in, brake });
        }
    }
    Err(Refused::Busy)
}

/// Tells of a refusal. What was typed as a name is not repeated: people type passwords there.
async fn note_refusal(
    app: &App,
    visit: &Visit,
    sign_in: &SignIn,
    attempted: &'static str,
    reason: &'static str,
    brake: Option<AccountBrake>,
) -> Result<(), StoreError> {
    metrics::sign_in(attempted, reason);
    let mut entry = visit.entry(Actor::anonymous(), "session.refuse").outcome(AuditOutcome::Denied).reason(reason);
    entry = entry.detail("attempted", attempted);
    if let Some(credentials) = &sign_in.credentials {
        entry = entry.object("user", &credentials.user.id);
    }
    if let Some(brake) = brake {
        entry = entry.detail("failures", brake.failures);
        if brake.is_locked(visit.now_us) {
            let locked_s = brake.locked_until_us.saturating_sub(visit.now_us) / 1_000_000;
            entry = entry.detail("locked_s", locked_s);
        }
    }
    app.store.record(&[entry]).await
}

/// The first step: a name and a password. Answers the secret of a session that opens nothing but the second step.
pub(super) async fn by_password(
    app: &App,
    visit: &Visit,
    name: &str,
    password: &SecretString,
) -> Result<SessionSecret, Refused> {
    app.doors.attempt_from(visit.address, visit.now_us).inspect_err(|_| metrics::sign_in("password", "address"))?;
    let counted = count(app, visit, Err(name), "password").await?;
    let stored = counted.sign_in.credentials.as_ref().and_then(|known| known.password.as_deref());
    let fits = app.doors.passwords.verify_or_dummy(password, stored).await?;
    let secret = SessionSecret::generate()?;
    let Some(known) = counted.sign_in.credentials.as_ref().filter(|known| fits && known.totp.is_some()) else {
        note_refusal(app, visit, &counted.sign_in, "password", "wrong", Some(counted.brake)).await?;
        return Err(Refused::Wrong);
    };
    let access = app.store.begin_access().await?;
    let address = visit.address_text();
    let stage = SessionStage::Password;
    let new = NewSession { user: &known.user.id, secret_hash: &secret.hash(), stage, address: &address };
    let session = access.store().begin_session(&new, visit.now_us).await?;
    let actor = Actor::user(&known.user.id, known.user.role);
    access.commit(&[visit.entry(actor, "session.password").object("session", session)]).await?;
    metrics::sign_in("password", "right");
    Ok(secret)
}

/// The second step: a code of the app, or a recovery code. Answers the new secret of the session, which is open now.
pub(super) async fn by_second_factor(
    app: &App,
    visit: &Visit,
    live: &LiveSession,
    typed: &str,
) -> Result<SessionSecret, Refused> {
    app.doors.attempt_from(visit.address, visit.now_us).inspect_err(|_| metrics::sign_in("code", "address"))?;
    let counted = count(app, visit, Ok(&live.user.id), "code").await?;
    let secret = SessionSecret::generate()?;
    let access = app.store.begin_access().await?;
    let method = match &counted.sign_in.credentials {
        Some(known) => use_second_factor(access.store(), known, typed, visit.now_us).await?,
        None => None,
    };
    let Some(method) = method else {
        access.abandon();
        note_refusal(app, visit, &counted.sign_in, "code", "wrong", Some(counted.brake)).await?;
        return Err(Refused::Wrong);
    };
    if !access.store().upgrade_session(&live.session.id, &secret.hash(), visit.now_us).await? {
        return Err(Refused::Wrong);
    }
    access.store().note_success(&live.user.id, Some(visit.now_us)).await?;
    let actor = Actor::user(&live.user.id, live.user.role);
    let entry = visit.entry(actor, "session.begin").object("session", &live.session.id).detail("second_factor", method);
    access.commit(&[entry]).await?;
    metrics::sign_in("code", "right");
    Ok(secret)
}

/// Checks that whoever sits at an open session is its owner, before something is changed by which they get in: by the
/// password, or by a code.
pub(super) async fn again(app: &App, visit: &Visit, live: &LiveSession, shown: Shown<'_>) -> Result<(), Refused> {
    app.doors.attempt_from(visit.address, visit.now_us)?;
    let attempted = match shown {
        Shown::Password(_) => "password",
        Shown::Code(_) => "code",
    };
    let counted = count(app, visit, Ok(&live.user.id), attempted).await?;
    let fits = match (&counted.sign_in.credentials, shown) {
        (known, Shown::Password(password)) => {
            let stored = known.as_ref().and_then(|known| known.password.as_deref());
            app.doors.passwords.verify_or_dummy(password, stored).await?
        }
        (Some(known), Shown::Code(typed)) => use_second_factor(&app.store, known, typed, visit.now_us).await?.is_some(),
        (None, Shown::Code(_)) => false,
    };
    if !fits {
        note_refusal(app, visit, &counted.sign_in, attempted, "wrong", Some(counted.brake)).await?;
        return Err(Refused::Wrong);
    }
    app.store.note_success(&live.user.id, None).await?;
    Ok(())
}

/// What somebody shows who has signed in already.
#[derive(Clone, Copy)]
pub(super) enum Shown<'a> {
    Password(&'a SecretString),
    Code(&'a str),
}

/// Uses up a code of the app or a recovery code; says which it was.
async fn use_second_factor(
    store: &Store,
    known: &Credentials,
    typed: &str,
    now_us: i64,
) -> Result<Option<&'static str>, StoreError> {
    let unix_s = u64::try_from(now_us / 1_000_000).unwrap_or(0);
    let secret = known.totp.as_ref().and_then(|bytes| TotpSecret::from_bytes(bytes));
    let step = secret.and_then(|secret| secret.accept(typed, unix_s, Some(known.totp_step)));
    if let Some(step) = step {
        return Ok(store.take_totp_step(&known.user.id, step).await?.then_some("totp"));
    }
    let Some(code) = recovery::hash(typed) else { return Ok(None) };
    Ok(store.use_recovery_code(&known.user.id, &code, now_us).await?.then_some("recovery_code"))
}
