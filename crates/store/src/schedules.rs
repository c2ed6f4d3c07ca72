//! Schedules, the calls planned by them, and the attempts at those calls.
//!
//! A schedule's timetable is sealed under its patient's key. Planning turns its next day into a planned call when that
//! day opens, once, whatever happens in between; a claim notes an attempt before the call is placed, so that nobody is
//! telephoned twice for it. What follows from an attempt's end is decided by [`clinic::schedule`] inside the transaction
//! that notes the end.

mod attempts;
mod call_backs;
mod planned;

pub use attempts::{AttemptRecord, Claim, OutgoingState};
pub(crate) use call_backs::cancel_call_back;
pub use planned::{CallBack, PlannedCall, PlannedState, call_back_after};

use crate::audit::NewEntry;
use crate::db::{Conn, Domain, Row, query, query_scalar};
use crate::error::Doing;
use crate::ids::new_id;
use crate::keys::DataKey;
use crate::reach::{CareTeam, at_of, user_of, within};
use crate::vault::{Place, open_at, seal_at};
use crate::{Result, Store, StoreError};
use clinic::schedule::{CallingDay, Schedule, Timetable};
use clinic::{PatientId, ScheduleId};
use planned::NewPlannedCall;

/// Schedules of one patient, at most; removed ones do not count.
pub const MAX_SCHEDULES_OF_PATIENT: usize = 8;
/// After the server was down for longer than this, older days are not made up for one by one.
const MAKE_UP_US: i64 = 14 * 24 * 3_600 * 1_000_000;
/// When to look again at a schedule that cannot be read.
const DAMAGED_AGAIN_US: i64 = 3_600 * 1_000_000;
/// "Not by itself."
const FAR_US: i64 = i64::MAX;

const KIND: &str = "schedule";
const INSERT: &str = "INSERT INTO schedules (id, patient_id, definition, paused, removed, next_date, next_plan_us, \
     created_at_us) VALUES ($1, $2, $3, 0, 0, $4, $5, $6)";
const GET: &str = "SELECT s.id, s.patient_id, s.definition, s.paused, s.next_date, k.key_id, k.wrapped_key \
     FROM schedules s LEFT JOIN data_keys k ON k.kind = 'patient' AND k.id = s.patient_id WHERE s.id = $1 AND s.removed = 0";
const LIST: &str = "SELECT s.id, s.patient_id, s.definition, s.paused, s.next_date, k.key_id, k.wrapped_key \
     FROM schedules s LEFT JOIN data_keys k ON k.kind = 'patient' AND k.id = s.patient_id \
     WHERE s.removed = 0 AND k.wrapped_key IS NOT NULL ORDER BY s.id";
const LIST_PAGE: &str = concat!(
    "SELECT s.id, s.patient_id, s.definition, s.paused, s.next_date, k.key_id, k.wrapped_key \
     FROM schedules s LEFT JOIN data_keys k ON k.kind = 'patient' AND k.id = s.patient_id \
     WHERE s.removed = 0 AND k.wrapped_key IS NOT NULL AND ($1 IS NULL OR s.patient_id = $1) AND s.id > $2 AND ",
    within!("s.patient_id", "$4", "$5"),
    " ORDER BY s.id LIMIT $3"
);
const TO_PLAN: &str = "SELECT s.id, s.patient_id, s.definition, s.paused, s.next_date, k.key_id, k.wrapped_key \
     FROM schedules s LEFT JOIN data_keys k ON k.kind = 'patient' AND k.id = s.patient_id \
     WHERE s.paused = 0 AND s.removed = 0 AND s.next_plan_us <= $1 ORDER BY s.next_plan_us, s.id LIMIT $2";
const COUNT_OF_PATIENT: &str = "SELECT COUNT(*) FROM schedules WHERE patient_id = $1 AND removed = 0";
const SET_NEXT: &str = "UPDATE schedules SET next_date = $1, next_plan_us = $2 WHERE id = $3";
const PATIENT_OF: &str = "SELECT patient_id FROM schedules WHERE id = $1 AND removed = 0";
const SET_PAUSED: &str = "UPDATE schedules SET paused = $1 WHERE id = $2 AND removed = 0";
const SET_REMOVED: &str = "UPDATE schedules SET removed = 1 WHERE id = $1 AND removed = 0";

/// What [`Store::plan_calls`] did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Planned {
    /// Schedules that were looked at. As many as were allowed: there may be more.
    pub schedules: usize,
    /// Schedules that cannot be read.
    pub damaged: Vec<ScheduleId>,
}

impl Store {
    /// Adds a schedule. It begins with the first calling day that has not closed at `now_us`.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for a timetable that cannot be used, or when the patient has
    /// [`MAX_SCHEDULES_OF_PATIENT`]; [`StoreError::NotFound`] or [`StoreError::Sealed`] for the patient.
    pub async fn add_schedule(&self, patient: &PatientId, table: &Timetable, now_us: i64) -> Result<Schedule> {
        table.check().map_err(|wrong| StoreError::Invalid { what: wrong.field, expected: wrong.expected })?;
        let now_ms = u64::try_from(now_us / 1_000).unwrap_or_default();
        let id = ScheduleId::parse(&new_id(now_ms)?).map_err(|_| StoreError::corrupt("a new identifier"))?;
        let schedule = Schedule { id, patient_id: patient.clone(), timetable: table.clone(), paused: false };
        let mut tx = self.begin(Domain::Schedules).await?;
        let count: i64 =
            query_scalar(COUNT_OF_PATIENT).bind(patient.as_str()).fetch_one(&mut *tx).await.doing("count")?;
        if usize::try_from(count).unwrap_or(usize::MAX) >= MAX_SCHEDULES_OF_PATIENT {
            return Err(StoreError::Invalid { what: "number of schedules", expected: "at most 8 for one patient" });
        }
        let key = self.patient_key(&mut tx, patient).await?;
        let text = serde_json::to_vec(table).doing("write a timetable as JSON")?;
        let next = schedule.calling_day_from(now_us);
        query(INSERT)
            .bind(schedule.id.as_str())
            .bind(patient.as_str())
            .bind(seal_at(&key, place(schedule.id.as_str()), &text)?)
            .bind(next.map(|day| day.date.to_string()))
            .bind(plan_us(next))
            .bind(now_us)
            .execute(&mut *tx)
            .await
            .doing("save a schedule")?;
        self.tell(&mut tx, &[self.about("schedule.add", &schedule.id, patient)]).await?;
        tx.commit().await.doing("save a schedule")?;
        Ok(schedule)
    }

    /// All schedules, oldest first; or those of one patient.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    pub async fn list_schedules(&self, patient: Option<&PatientId>) -> Result<Vec<Schedule>> {
        let rows = query(LIST).fetch_all(self.read()).await.doing("list the schedules")?;
        let wanted = |row: &&Row| {
            patient.is_none_or(|patient| row.try_get::<String>("patient_id").is_ok_and(|id| id == patient.as_str()))
        };
        rows.iter().filter(wanted).map(|row| self.read_schedule(row)).collect()
    }

    /// Schedules, oldest first: at most `limit` (and [`crate::MAX_PAGE`]) of those after `after`; of one patient only,
    /// where one is named.
    ///
    /// # Errors
    /// As [`Store::list_schedules`].
    pub async fn list_schedules_page(
        &self,
        patient: Option<&PatientId>,
        limit: u32,
        after: Option<&ScheduleId>,
    ) -> Result<Vec<Schedule>> {
        self.list_schedules_within(None, patient, limit, after).await
    }

    /// As [`Store::list_schedules_page`], of the patients of a care team.
    ///
    /// # Errors
    /// As [`Store::list_schedules`].
    pub async fn list_schedules_within(
        &self,
        team: Option<&CareTeam>,
        patient: Option<&PatientId>,
        limit: u32,
        after: Option<&ScheduleId>,
    ) -> Result<Vec<Schedule>> {
        let statement = query(LIST_PAGE)
            .bind(patient.map(PatientId::as_str))
            .bind(after.map_or("", ScheduleId::as_str))
            .bind(i64::from(limit.min(crate::MAX_PAGE)))
            .bind(user_of(team))
            .bind(at_of(team));
        let rows = statement.fetch_all(self.read()).await.doing("list the schedules")?;
        rows.iter().map(|row| self.read_schedule(row)).collect()
    }

    /// One schedule.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] (also when it was removed), [`StoreError::Sealed`] when its patient was erased,
    /// [`StoreError::Corrupt`].
    pub async fn get_schedule(&self, id: &ScheduleId) -> Result<Schedule> {
        let row = query(GET).bind(id.as_str()).fetch_optional(self.read()).await.doing("read a schedule")?;
        self.read_schedule(&row.ok_or(StoreError::NotFound { what: KIND })?)
    }

    /// Pauses a schedule: no more calls are placed by it, and a day that passes meanwhile is not missed.
    ///
    /// # Errors
    /// As [`Store::get_schedule`].
    pub async fn pause_schedule(&self, id: &ScheduleId, now_us: i64) -> Result<()> {
        self.set_paused(id, true, now_us).await
    }

    /// Lets a paused schedule go on, with the first calling day that has not closed at `now_us`.
    ///
    /// # Errors
    /// As [`Store::get_schedule`].
    pub async fn resume_schedule(&self, id: &ScheduleId, now_us: i64) -> Result<()> {
        self.set_paused(id, false, now_us).await
    }

    async fn set_paused(&self, id: &ScheduleId, paused: bool, now_us: i64) -> Result<()> {
        let doing = "change a schedule";
        let mut tx = self.begin(Domain::Schedules).await?;
        let row = query(GET).bind(id.as_str()).fetch_optional(&mut *tx).await.doing(doing)?;
        let schedule = self.read_schedule(&row.ok_or(StoreError::NotFound { what: KIND })?)?;
        if schedule.paused == paused {
            return Ok(());
        }
        query(SET_PAUSED).bind(i64::from(paused)).bind(id.as_str()).execute(&mut *tx).await.doing(doing)?;
        if !paused {
            set_next(&mut tx, id, schedule.calling_day_from(now_us)).await?;
        }
        planned::decide_open_calls(&mut tx, id, now_us).await?;
        let action = if paused { "schedule.pause" } else { "schedule.resume" };
        self.tell(&mut tx, &[self.about(action, id, &schedule.patient_id)]).await?;
        tx.commit().await.doing(doing)
    }

    /// Removes a schedule. What was done by it stays on record.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is none, or not any more.
    pub async fn remove_schedule(&self, id: &ScheduleId, now_us: i64) -> Result<()> {
        let doing = "remove a schedule";
        let mut tx = self.begin(Domain::Schedules).await?;
        let patient: Option<String> =
            query_scalar(PATIENT_OF).bind(id.as_str()).fetch_optional(&mut *tx).await.doing(doing)?;
        let patient = patient.ok_or(StoreError::NotFound { what: KIND })?;
        let patient = PatientId::parse(&patient).map_err(|_| StoreError::corrupt("the patient of a schedule"))?;
        let removed = query(SET_REMOVED).bind(id.as_str()).execute(&mut *tx).await.doing(doing)?;
        if removed.rows_affected() == 0 {
            return Err(StoreError::NotFound { what: KIND });
        }
        planned::decide_open_calls(&mut tx, id, now_us).await?;
        self.tell(&mut tx, &[self.about("schedule.remove", id, &patient)]).await?;
        tx.commit().await.doing(doing)
    }

    fn about(&self, action: &str, id: &ScheduleId, patient: &PatientId) -> NewEntry {
        self.entry(action).object(KIND, id).patient(Some(patient))
    }

    /// Makes planned calls of the calling days that have opened, for at most `limit` schedules. Days that passed while
    /// nobody looked are planned too, so that they can be reported as missed.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; calling it again is harmless.
    pub async fn plan_calls(&self, now_us: i64, limit: u32) -> Result<Planned> {
        let doing = "plan calls";
        let mut tx = self.begin(Domain::Schedules).await?;
        let statement = query(TO_PLAN).bind(now_us).bind(i64::from(limit));
        let rows = statement.fetch_all(&mut *tx).await.doing(doing)?;
        let mut planned = Planned { schedules: rows.len(), damaged: Vec::new() };
        for row in &rows {
            match self.read_schedule(row) {
                Ok(schedule) => plan_day(&mut tx, &schedule, next_date(row)?, now_us).await?,
                Err(StoreError::Sealed { .. }) => {
                    let id: String = row.try_get("id").doing(doing)?;
                    query(SET_REMOVED).bind(id).execute(&mut *tx).await.doing(doing)?;
                }
                Err(_) => {
                    // One damaged record must not keep everybody else's telephone from ringing.
                    let id: String = row.try_get("id").doing(doing)?;
                    let id = ScheduleId::parse(&id).map_err(|_| StoreError::corrupt("the identifier of a schedule"))?;
                    let again = query("UPDATE schedules SET next_plan_us = $1 WHERE id = $2");
                    let again = again.bind(now_us.saturating_add(DAMAGED_AGAIN_US)).bind(id.as_str());
                    again.execute(&mut *tx).await.doing(doing)?;
                    planned.damaged.push(id);
                }
            }
        }
        tx.commit().await.doing(doing)?;
        Ok(planned)
    }

    /// The patient's key from a row that has `key_id` and `wrapped_key`.
    fn key_in_row(&self, row: &Row, patient: &str) -> Result<DataKey> {
        let doing = "read the key of a patient";
        let key_id: Option<String> = row.try_get("key_id").doing(doing)?;
        let wrapped: Option<Vec<u8>> = row.try_get("wrapped_key").doing(doing)?;
        self.inner.vault.unwrap_key("patient", patient, key_id.as_deref(), wrapped.as_deref())
    }

    fn read_schedule(&self, row: &Row) -> Result<Schedule> {
        let doing = "read a schedule";
        let id: String = row.try_get("id").doing(doing)?;
        let damaged = || StoreError::corrupt(format!("schedule {id}"));
        let patient: String = row.try_get("patient_id").doing(doing)?;
        let sealed: Vec<u8> = row.try_get("definition").doing(doing)?;
        let key = self.key_in_row(row, &patient)?;
        let definition = open_at(&key, place(&id), &sealed)?;
        Ok(Schedule {
            id: ScheduleId::parse(&id).map_err(|_| damaged())?,
            patient_id: PatientId::parse(&patient).map_err(|_| damaged())?,
            timetable: serde_json::from_slice(&definition).map_err(|_| damaged())?,
            paused: row.try_get::<i64>("paused").doing(doing)? != 0,
        })
    }
}

/// Plans the day that is next and says which one comes after it.
async fn plan_day(tx: &mut Conn, schedule: &Schedule, date: Option<jiff::civil::Date>, now_us: i64) -> Result<()> {
    let Some(date) = date else { return set_next(tx, &schedule.id, None).await };
    if let Some(day) = schedule.calling_day(date).filter(|day| day.closes_at_us > now_us - MAKE_UP_US) {
        let new = NewPlannedCall {
            patient_id: &schedule.patient_id,
            schedule_id: Some(&schedule.id),
            day,
            max_attempts: schedule.timetable.max_attempts,
            retry_after: schedule.timetable.retry_after,
        };
        planned::insert(tx, &new, now_us).await?;
    }
    let next = date.tomorrow().ok().and_then(|date| schedule.next_calling_day(date));
    let next = match next {
        Some(day) if day.closes_at_us <= now_us - MAKE_UP_US => schedule.calling_day_from(now_us - MAKE_UP_US),
        next => next,
    };
    set_next(tx, &schedule.id, next).await
}

async fn set_next(tx: &mut Conn, id: &ScheduleId, next: Option<CallingDay>) -> Result<()> {
    let update = query(SET_NEXT).bind(next.map(|day| day.date.to_string())).bind(plan_us(next)).bind(id.as_str());
    update.execute(tx).await.doing("plan the next call").map(drop)
}

fn plan_us(next: Option<CallingDay>) -> i64 {
    next.map_or(FAR_US, |day| day.opens_at_us)
}

fn next_date(row: &Row) -> Result<Option<jiff::civil::Date>> {
    let text: Option<String> = row.try_get("next_date").doing("read a schedule")?;
    text.map(|text| text.parse().map_err(|_| StoreError::corrupt("the next day of a schedule"))).transpose()
}

fn place(id: &str) -> Place<'_> {
    Place { table: "schedules", row: id, column: "definition" }
}
