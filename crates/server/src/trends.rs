//! The courses of a patient's values over their calls, for the interface and the command line.

use crate::clock;
use crate::visits::profile_of;
use clinic::PatientId;
use clinic::facts::CallFacts;
use clinic::risk::Model;
use clinic::trends::{self, Trend, UnknownMeasure};
use std::sync::Arc;
use store::{Store, StoreError};

/// Why there are no trends.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrendsError {
    /// The measure asked for is not one.
    #[error("measure: {0}")]
    Measure(#[from] UnknownMeasure),
    /// The calls cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The course of one measure, or of all, over the newest calls of a patient (as many as the store looks back on).
///
/// # Errors
/// [`TrendsError::Measure`] names what there is; [`TrendsError::Store`] also for a patient who is not there.
pub async fn patient_trends(
    store: &Store,
    model: &Arc<Model>,
    patient: &PatientId,
    measure: Option<&str>,
) -> Result<Vec<Trend>, TrendsError> {
    let person = store.get_patient(patient).await?;
    let care = store.care_profile(patient).await?;
    let facts: Vec<CallFacts> =
        store.patient_visits(patient, store::MAX_FACTS).await?.into_iter().map(|past| past.facts).collect();
    let newest_us = facts.iter().map(|call| call.at_us).max().unwrap_or_else(clock::unix_us);
    let profile = profile_of(&person, &care, newest_us);
    let (model, measure) = (model.clone(), measure.map(str::to_owned));
    // Two years of calls are too much arithmetic for a thread on which audio waits.
    let found = tokio::task::spawn_blocking(move || match measure {
        Some(measure) => trends::trend(&measure, &facts, &profile, &model).map(|trend| vec![trend]),
        None => Ok(trends::trends(&facts, &profile, &model)),
    });
    match found.await {
        Ok(found) => Ok(found?),
        Err(_) => Err(StoreError::Corrupt { what: format!("the calls of patient {patient}") }.into()),
    }
}
