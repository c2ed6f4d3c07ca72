//! `heartvoice user assign|unassign`: whose patients a clinician looks after.

use super::{Desk, entry};
use crate::failure::bad_input;
use crate::output;
use clinic::PatientId;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name or identifier of the clinician
    user: String,
    /// Identifier of a patient, as `patient list` prints it; may be repeated
    #[arg(long, value_name = "ID", required_unless_present = "all_patients", conflicts_with = "all_patients")]
    patient: Vec<String>,
    /// All patients
    #[arg(long)]
    all_patients: bool,
}

impl Args {
    fn patients(&self) -> anyhow::Result<Vec<PatientId>> {
        self.patient.iter().map(|id| PatientId::parse(id).map_err(|invalid| bad_input(invalid.to_string()))).collect()
    }
}

pub(super) async fn assign(desk: &Desk<'_>, args: &Args) -> anyhow::Result<()> {
    let (user, patients) = (desk.find(&args.user).await?, args.patients()?);
    let access = desk.store.begin_access().await?;
    let (mut count, mut entries) = (0, Vec::new());
    if args.all_patients {
        count = access.store().assign_all_patients(&user.id, desk.now_us).await?;
        entries.push(entry("care_team.add", &user).detail("count", count));
    }
    for patient in &patients {
        if access.store().assign_patient(&user.id, patient, desk.now_us).await? {
            count += 1;
            entries.push(entry("care_team.add", &user).patient(Some(patient)));
        }
    }
    access.commit(&entries).await?;
    output::line(&format!("user {} was added to the care teams of {count} patients", user.name))
}

pub(super) async fn unassign(desk: &Desk<'_>, args: &Args) -> anyhow::Result<()> {
    let (user, patients) = (desk.find(&args.user).await?, args.patients()?);
    let access = desk.store.begin_access().await?;
    let (mut count, mut entries) = (0, Vec::new());
    if args.all_patients {
        count = access.store().unassign_all_patients(&user.id).await?;
        entries.push(entry("care_team.remove", &user).detail("count", count));
    }
    for patient in &patients {
        if access.store().unassign_patient(&user.id, patient).await? {
            count += 1;
            entries.push(entry("care_team.remove", &user).patient(Some(patient)));
        }
    }
    access.commit(&entries).await?;
    output::line(&format!("user {} was removed from the care teams of {count} patients", user.name))
}
