//! `heartvoice user`: who has an account, and whose patients they look after.

mod team;

use super::operator;
use crate::failure::bad_input;
use crate::output::{self, Format, RowFormat};
use clap::{Subcommand, ValueEnum};
use clinic::UserId;
use clinic::access::Role;
use serde_json::{Value, json};
use store::audit::NewEntry;
use store::{Store, UserRecord};

/// The roles of people; programs get tokens instead.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum PersonRole {
    /// Runs the installation: people, registry, schedules, erasure
    Admin,
    /// Sees everything about the patients of their care team
    Clinician,
    /// Sees de-identified data only
    Researcher,
    /// Sees who did what, and no patient's data
    Auditor,
}

impl From<PersonRole> for Role {
    fn from(role: PersonRole) -> Self {
        match role {
            PersonRole::Admin => Self::Admin,
            PersonRole::Clinician => Self::Clinician,
            PersonRole::Researcher => Self::Researcher,
            PersonRole::Auditor => Self::Auditor,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Adds a user and prints the link with which they set password and second factor, this once
    ///
    /// The link works once and for 24 hours. With --oidc-email they may sign in through the clinic's identity provider: the
    /// first person whom the provider sends with that address, checked by it, becomes this user, for good.
    #[command(
        after_help = "Examples:\n  heartvoice user add --name ada --role clinician\n  heartvoice user add --name ben --role auditor --oidc-email ben@clinic.example"
    )]
    Add {
        /// What they sign in with
        #[arg(long)]
        name: String,
        /// What they may do
        #[arg(long, value_enum)]
        role: PersonRole,
        /// Their address at the identity provider
        #[arg(long, value_name = "MAIL")]
        oidc_email: Option<String>,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Lists all users
    #[command(after_help = "Example:\n  heartvoice user list --format json")]
    List {
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: RowFormat,
    },
    /// Ends an account at once: its sessions, and the tokens it made
    #[command(after_help = "Example:\n  heartvoice user disable ada")]
    Disable {
        /// Name or identifier
        user: String,
    },
    /// Takes a disabled account into use again
    #[command(after_help = "Example:\n  heartvoice user enable ada")]
    Enable {
        /// Name or identifier
        user: String,
    },
    /// Takes away password, second factor and recovery codes, and prints a link to set them anew, this once
    ///
    /// For a lost telephone or a forgotten password. The sessions end, and so does the link to the identity provider, unless
    /// --oidc-email makes a new one.
    #[command(after_help = "Example:\n  heartvoice user reset ada")]
    Reset {
        /// Name or identifier
        user: String,
        /// Their address at the identity provider
        #[arg(long, value_name = "MAIL")]
        oidc_email: Option<String>,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Makes a clinician a member of care teams: they see these patients
    ///
    /// --all-patients means those there are now; patients who are added later have to be assigned too.
    #[command(
        after_help = "Examples:\n  heartvoice user assign ada --patient 0190a7c4-3b1f-7c52-b7a5-0c9d1f2e3a4b\n  heartvoice user assign ada --all-patients"
    )]
    Assign(team::Args),
    /// Ends memberships in care teams
    #[command(
        after_help = "Examples:\n  heartvoice user unassign ada --patient 0190a7c4-3b1f-7c52-b7a5-0c9d1f2e3a4b\n  heartvoice user unassign ada --all-patients"
    )]
    Unassign(team::Args),
}

impl Command {
    /// True when nothing is written, so that there should be something to read.
    pub(super) fn only_reads(&self) -> bool {
        matches!(self, Self::List { .. })
    }
}

/// `base_url` is where people reach the server.
pub(crate) async fn run(store: &Store, base_url: &str, command: Command) -> anyhow::Result<()> {
    let now_us = jiff::Timestamp::now().as_microsecond();
    let desk = Desk { store, base_url, now_us };
    let done = match command {
        Command::Add { name, role, oidc_email, format } => {
            desk.add(&name, role.into(), oidc_email.as_deref(), format).await
        }
        Command::List { format } => desk.list(format).await,
        Command::Disable { user } => desk.disable(&user).await,
        Command::Enable { user } => desk.enable(&user).await,
        Command::Reset { user, oidc_email, format } => desk.reset(&user, oidc_email.as_deref(), format).await,
        Command::Assign(args) => team::assign(&desk, &args).await,
        Command::Unassign(args) => team::unassign(&desk, &args).await,
    };
    store.close().await;
    done
}

/// What the commands work with.
struct Desk<'a> {
    store: &'a Store,
    base_url: &'a str,
    now_us: i64,
}

impl Desk<'_> {
    async fn add(&self, name: &str, role: Role, mail: Option<&str>, format: Format) -> anyhow::Result<()> {
        let access = self.store.begin_access().await?;
        let store = access.store();
        let user = store.add_user(name, role, self.now_us).await?;
        if let Some(mail) = mail {
            store.expect_provider(&user.id, mail).await?;
        }
        let link = store.invite(&user.id, self.now_us).await?;
        let added = entry("user.add", &user).detail("role", role.as_str()).detail("provider", mail.is_some());
        access.commit(&[added, entry("user.invite", &user)]).await?;
        self.print_link(&user, &link, format)
    }

    async fn list(&self, format: RowFormat) -> anyhow::Result<()> {
        let users = self.store.users().await?;
        let header = ["id", "name", "role", "state", "signed_in_at"];
        let row = |user: &UserRecord| {
            [
                user.id.to_string(),
                user.name.clone(),
                user.role.as_str().to_owned(),
                state(user, self.now_us).to_owned(),
                user.signed_in_at_us.map_or_else(|| "-".to_owned(), output::time),
            ]
        };
        match format {
            RowFormat::Json => output::json(&users.iter().map(|user| object(user, self.now_us)).collect::<Vec<_>>()),
            RowFormat::Table => output::table(header, users.iter().map(row).collect()),
            RowFormat::Csv => output::csv(&header, &users.iter().map(row).collect::<Vec<_>>()),
        }
    }

    async fn disable(&self, user: &str) -> anyhow::Result<()> {
        let user = self.find(user).await?;
        let access = self.store.begin_access().await?;
        access.store().disable_user(&user.id, self.now_us).await?;
        access.commit(&[entry("user.disable", &user)]).await?;
        output::line(&format!("user {} is disabled; sessions and tokens ended", user.name))
    }

    async fn enable(&self, user: &str) -> anyhow::Result<()> {
        let user = self.find(user).await?;
        let access = self.store.begin_access().await?;
        access.store().enable_user(&user.id).await?;
        access.commit(&[entry("user.enable", &user)]).await?;
        output::line(&format!("user {} is enabled", user.name))
    }

    async fn reset(&self, user: &str, mail: Option<&str>, format: Format) -> anyhow::Result<()> {
        let user = self.find(user).await?;
        let access = self.store.begin_access().await?;
        let store = access.store();
        store.reset_user(&user.id, self.now_us).await?;
        if let Some(mail) = mail {
            store.expect_provider(&user.id, mail).await?;
        }
        let link = store.invite(&user.id, self.now_us).await?;
        let reset = entry("user.reset", &user).detail("provider", mail.is_some());
        access.commit(&[reset, entry("user.invite", &user)]).await?;
        self.print_link(&user, &link, format)
    }

    /// The link alone on standard output, so that it can be passed on; the rest is for people.
    fn print_link(&self, user: &UserRecord, link: &str, format: Format) -> anyhow::Result<()> {
        let address = server::auth::set_up_address(self.base_url, link);
        match format {
            Format::Table => {
                eprintln!("user {} ({}): pass this link on; it works once and for 24 hours", user.name, user.id);
                output::line(&address)
            }
            Format::Json => output::json(&json!({
                "id": user.id,
                "name": user.name,
                "role": user.role,
                "set_up_url": address.as_str(),
                "set_up_expires_at": output::time(self.now_us.saturating_add(store::INVITATION_LIFETIME_US)),
            })),
        }
    }

    /// By name, or by identifier.
    async fn find(&self, text: &str) -> anyhow::Result<UserRecord> {
        if let Some(user) = self.store.user_by_name(text).await? {
            return Ok(user);
        }
        let id = UserId::parse(text).map_err(|_| bad_input("there is no user of this name or identifier"))?;
        Ok(self.store.user(&id).await?)
    }
}

fn entry(action: &str, user: &UserRecord) -> NewEntry {
    NewEntry::new(operator(), action).object("user", &user.id)
}

fn state(user: &UserRecord, now_us: i64) -> &'static str {
    match user {
        UserRecord { disabled_at_us: Some(_), .. } => "disabled",
        UserRecord { password_set_at_us: None, has_provider: false, .. } => "not set up",
        UserRecord { locked_until_us, failures, .. } if *failures > 0 && *locked_until_us > now_us => "locked",
        _ => "active",
    }
}

fn object(user: &UserRecord, now_us: i64) -> Value {
    json!({
        "id": user.id,
        "name": user.name,
        "role": user.role,
        "state": state(user, now_us),
        "second_factor": user.has_second_factor,
        "identity_provider": user.has_provider,
        "created_at": output::time(user.created_at_us),
        "signed_in_at": user.signed_in_at_us.map(output::time),
        "disabled_at": user.disabled_at_us.map(output::time),
    })
}
