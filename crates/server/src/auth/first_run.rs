//! The first administrator: as long as nobody can sign in, the program at the machine itself is asked for a link.

use clinic::access::Role;
use store::audit::{Actor, NewEntry};
use store::{Store, StoreError};
use zeroize::Zeroizing;

/// Name of the account that is made when there is none.
const FIRST_NAME: &str = "admin";

/// The address of the page that sets up an account, with the secret of a link.
#[must_use]
pub fn set_up_address(public_base_url: &str, link: &str) -> Zeroizing<String> {
    Zeroizing::new(format!("{}/set-up/{link}", public_base_url.trim_end_matches('/')))
}

/// The address at which the first administrator sets up their account, if there is no other user yet. It is a secret: for the
/// terminal, not for a log. Earlier ones are void.
///
/// # Errors
/// [`StoreError::Unavailable`].
pub async fn first_link(
    store: &Store,
    public_base_url: &str,
    now_us: i64,
) -> Result<Option<Zeroizing<String>>, StoreError> {
    // An administrator who was added by hand has a link already, which a further one would make void.
    let known = match store.users().await?.as_slice() {
        [] => None,
        [only]
            if only.name == FIRST_NAME
                && only.role == Role::Admin
                && only.password_set_at_us.is_none()
                && !only.has_provider
                && only.disabled_at_us.is_none() =>
        {
            Some(only.clone())
        }
        _ => return Ok(None),
    };
    let access = store.begin_access().await?;
    let mut entries = Vec::new();
    let admin = match known {
        Some(admin) => admin,
        None => {
            let admin = access.store().add_user(FIRST_NAME, Role::Admin, now_us).await?;
            let entry = NewEntry::new(Actor::system(), "user.add").object("user", &admin.id);
            entries.push(entry.detail("role", admin.role.as_str()));
            admin
        }
    };
    let link = access.store().invite(&admin.id, now_us).await?;
    entries.push(NewEntry::new(Actor::system(), "user.invite").object("user", &admin.id));
    access.commit(&entries).await?;
    Ok(Some(set_up_address(public_base_url, &link)))
}
