//! Jobs of a bucket: started, looked at, paused, resumed, cancelled.

use axum::{
    Json,
    extract::{Path, State},
};
use http::StatusCode;
use serde::Deserialize;
use umbra_core::{Timestamp, limits::KEYS_PER_PAGE_MAX};
use umbra_shadow::{Difference, Finding, Job, JobKind, JobOptions, JobOrder, JobRequest, Note, Tally, no_such_job};

use crate::{
    api::{DifferenceView, FindingView, JobNote, JobNotes, JobSettings, JobView, OrderName, TallyView, rfc3339},
    caller::Caller,
    error::{ApiError, ApiResult},
    routes::{
        extract::{JsonBody, Query},
        to_the_end,
    },
    state::AdminState,
};

/// The bucket and the kind of job in the path.
type Place = Path<(String, String)>;

/// Which notes to list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NotesQuery {
    after: Option<String>,
    limit: Option<usize>,
}

pub(crate) async fn start(
    State(state): State<AdminState>,
    caller: Caller,
    Path((name, kind)): Place,
    JsonBody(settings): JsonBody<JobSettings>,
) -> ApiResult<(StatusCode, Json<JobView>)> {
    let bucket = state.managed_bucket(&caller, &name).await?;
    let request = JobRequest { kind: kind.parse()?, options: options(&settings), prefix: settings.prefix };
    to_the_end(async move { Ok((StatusCode::CREATED, Json(view(&state.shadow.start_job(&bucket, request).await?)))) }).await
}

pub(crate) async fn get(State(state): State<AdminState>, caller: Caller, Path((name, kind)): Place) -> ApiResult<Json<JobView>> {
    let bucket = state.visible_bucket(&caller, &name).await?;
    let kind = kind.parse()?;
    let job = state.shadow.job(&bucket, kind).await?;
    Ok(Json(view(&job.ok_or_else(|| no_such_job(&bucket, kind))?)))
}

pub(crate) async fn pause(State(state): State<AdminState>, caller: Caller, Path((name, kind)): Place) -> ApiResult<Json<JobView>> {
    let (bucket, kind): (_, JobKind) = (state.managed_bucket(&caller, &name).await?, kind.parse()?);
    to_the_end(async move { Ok(Json(view(&state.shadow.pause_job(&bucket, kind).await?))) }).await
}

pub(crate) async fn resume(
    State(state): State<AdminState>,
    caller: Caller,
    Path((name, kind)): Place,
    JsonBody(settings): JsonBody<JobSettings>,
) -> ApiResult<Json<JobView>> {
    if !settings.prefix.is_empty() {
        return Err(ApiError::invalid("a job that is resumed keeps its prefix"));
    }
    let (bucket, kind): (_, JobKind) = (state.managed_bucket(&caller, &name).await?, kind.parse()?);
    to_the_end(async move { Ok(Json(view(&state.shadow.resume_job(&bucket, kind, &options(&settings)).await?))) }).await
}

pub(crate) async fn cancel(State(state): State<AdminState>, caller: Caller, Path((name, kind)): Place) -> ApiResult<Json<JobView>> {
    let (bucket, kind): (_, JobKind) = (state.managed_bucket(&caller, &name).await?, kind.parse()?);
    to_the_end(async move { Ok(Json(view(&state.shadow.cancel_job(&bucket, kind).await?))) }).await
}

pub(crate) async fn notes(
    State(state): State<AdminState>,
    caller: Caller,
    Path((name, kind)): Place,
    Query(query): Query<NotesQuery>,
) -> ApiResult<Json<JobNotes>> {
    let bucket = state.managed_bucket(&caller, &name).await?;
    let limit = query.limit.unwrap_or(KEYS_PER_PAGE_MAX);
    if !(1..=KEYS_PER_PAGE_MAX).contains(&limit) {
        return Err(ApiError::invalid(format!("limit must be between 1 and {KEYS_PER_PAGE_MAX}")));
    }
    let page = state.shadow.job_notes(&bucket, kind.parse()?, query.after.as_deref(), limit).await?;
    let notes = page.notes.into_iter().map(|(key, note)| note_view(key.to_string(), note)).collect();
    Ok(Json(JobNotes { notes, next: page.next }))
}

fn options(settings: &JobSettings) -> JobOptions {
    JobOptions {
        parallel: settings.parallel,
        bytes_per_second: settings.bytes_per_second,
        requests_per_second: settings.requests_per_second,
        egress_bytes: settings.egress_bytes,
        order: settings.order.map(|order| match order {
            OrderName::Key => JobOrder::Key,
            OrderName::Smallest => JobOrder::Smallest,
        }),
        deep: settings.deep,
        dry_run: settings.dry_run,
        for_detach: None,
    }
}

fn time(millis: i64) -> String {
    rfc3339(Timestamp::from_millis(millis))
}

/// A job as the API tells it.
pub(crate) fn view(job: &Job) -> JobView {
    let options = &job.options;
    let settings = JobSettings {
        prefix: job.prefix.clone(),
        parallel: options.parallel,
        bytes_per_second: options.bytes_per_second,
        requests_per_second: options.requests_per_second,
        egress_bytes: options.egress_bytes,
        order: options.order.map(|order| match order {
            JobOrder::Key => OrderName::Key,
            JobOrder::Smallest => OrderName::Smallest,
        }),
        deep: options.deep,
        dry_run: options.dry_run,
    };
    JobView {
        kind: job.kind.to_string(),
        run: job.run,
        state: job.state.to_string(),
        reason: job.reason.clone(),
        settings,
        objects_done: job.counts.objects_done,
        bytes_done: job.counts.bytes_done,
        objects_left: job.counts.objects_left,
        bytes_left: job.counts.bytes_left,
        objects_failed: job.counts.objects_failed,
        bytes_failed: job.counts.bytes_failed,
        bytes_egress: job.counts.bytes_egress,
        tallies: job.counts.tallies().iter().cloned().map(|Tally { name, objects, bytes }| TallyView { name, objects, bytes }).collect(),
        bytes_per_second: job.bytes_per_second,
        seconds_left: job.seconds_left(),
        started: time(job.started),
        updated: time(job.updated),
        ended: job.ended.map(time),
        complete_since: job.complete.map(|(started, _)| time(started)),
    }
}

fn note_view(key: String, note: Note) -> JobNote {
    let differences = note.differences.into_iter().map(|Difference { field, local, origin }| DifferenceView { field, local, origin });
    JobNote {
        key,
        reason: note.reason,
        attempts: note.attempts,
        at: time(note.at),
        size: note.size,
        differences: differences.collect(),
        finding: note.finding.map(|Finding { name, explained }| FindingView { name, explained }),
    }
}
