//! The registry over HTTP.

use axum::extract::State;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use tinyops_pipeline::tracking::Page;
use tinyops_pipeline::tracking::registry::{self, By};
use tinyops_store::tracking::Pair;
use tinyops_store::tracking::registry::{self as records, NewVersion, RegisteredModel, Version};

use super::Actor;
use super::error::MlflowError;
use super::input::{Input, PairInput, maybe_whole, pairs, texts};
use super::view::{Done, RegisteredModelView, VersionView};
use crate::app::App;

#[derive(Serialize)]
pub(super) struct One {
    registered_model: RegisteredModelView,
}

#[derive(Serialize)]
pub(super) struct OneVersion {
    model_version: VersionView,
}

pub(super) fn by<'a>(app: &App, Actor(actor): &'a Actor) -> By<'a> {
    By {
        actor,
        now: app.now(),
    }
}

async fn shown(app: &App, found: RegisteredModel) -> Result<Json<One>, MlflowError> {
    let registered_model = view(app, found).await?;
    Ok(Json(One { registered_model }))
}

async fn view(app: &App, found: RegisteredModel) -> Result<RegisteredModelView, MlflowError> {
    let latest = registry::latest(app.db(), &found.name, &[]).await?;
    let latest = version_views(app, latest, false).await?;
    let aliases = registry::aliases(app.db(), &found.name).await?;
    let mut tags = records::tags(app.db(), &[found.row]).await?;
    let tags = tags.remove(&found.row).unwrap_or_default();
    Ok(RegisteredModelView::of(found, tags, aliases, latest))
}

async fn version_shown(app: &App, found: Version) -> Result<Json<OneVersion>, MlflowError> {
    match version_views(app, vec![found], true).await?.pop() {
        Some(model_version) => Ok(Json(OneVersion { model_version })),
        None => Err(MlflowError::invalid("the version is gone")),
    }
}

/// Versions with tags and descriptions, and with aliases where these are shown.
async fn version_views(
    app: &App,
    versions: Vec<Version>,
    with_aliases: bool,
) -> Result<Vec<VersionView>, MlflowError> {
    let ids: Vec<String> = versions.iter().map(|version| version.id.clone()).collect();
    let mut tags = records::version_tags(app.db(), &ids).await?;
    let mut descriptions = records::descriptions(app.db(), &ids).await?;
    let mut views = Vec::with_capacity(versions.len());
    for version in versions {
        let aliases = match with_aliases {
            true => registry::aliases(app.db(), &version.name).await?,
            false => Vec::new(),
        };
        let aliases = aliases.into_iter().filter(|(_, to)| *to == version.version);
        let aliases = aliases.map(|(alias, _)| alias).collect();
        let description = descriptions.remove(&version.id).unwrap_or_default();
        let tags = tags.remove(&version.id).unwrap_or_default();
        views.push(VersionView::of(version, description, tags, aliases));
    }
    Ok(views)
}

#[derive(Deserialize)]
pub(super) struct ByName {
    #[serde(default)]
    name: String,
}

pub(super) async fn get(
    State(app): State<App>,
    Input(asked): Input<ByName>,
) -> Result<Json<One>, MlflowError> {
    let found = registry::get(app.db(), &asked.name).await?;
    shown(&app, found).await
}

#[derive(Deserialize)]
pub(super) struct New {
    #[serde(default)]
    name: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    tags: Vec<PairInput>,
}

pub(super) async fn create(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Input(new): Input<New>,
) -> Result<Json<One>, MlflowError> {
    let description = new.description.unwrap_or_default();
    let tags = pairs(new.tags);
    let by = by(&app, &actor);
    let made = registry::create(app.db(), &new.name, &description, &tags, by).await?;
    shown(&app, made).await
}

#[derive(Deserialize)]
pub(super) struct Rename {
    #[serde(default)]
    name: String,
    #[serde(default)]
    new_name: String,
}

pub(super) async fn rename(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Input(asked): Input<Rename>,
) -> Result<Json<One>, MlflowError> {
    let by = by(&app, &actor);
    let found = registry::rename(app.db(), &asked.name, &asked.new_name, by).await?;
    shown(&app, found).await
}

pub(super) async fn update(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Input(asked): Input<New>,
) -> Result<Json<One>, MlflowError> {
    let by = by(&app, &actor);
    let description = asked.description.unwrap_or_default();
    let found = registry::describe(app.db(), &asked.name, &description, by).await?;
    shown(&app, found).await
}

pub(super) async fn remove(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Input(asked): Input<ByName>,
) -> Result<Json<Done>, MlflowError> {
    registry::remove(app.db(), &asked.name, by(&app, &actor)).await?;
    Ok(Json(Done {}))
}

/// A tag of a name, or of a version of it.
#[derive(Deserialize)]
pub(super) struct Tag {
    #[serde(default)]
    name: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    key: String,
    #[serde(default)]
    value: String,
}

impl Tag {
    fn pair(&self) -> Pair {
        Pair {
            key: self.key.clone(),
            value: self.value.clone(),
        }
    }
}

pub(super) async fn set_tag(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Input(tag): Input<Tag>,
) -> Result<Json<Done>, MlflowError> {
    registry::tag(app.db(), &tag.name, tag.pair(), by(&app, &actor)).await?;
    Ok(Json(Done {}))
}

pub(super) async fn delete_tag(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Input(tag): Input<Tag>,
) -> Result<Json<Done>, MlflowError> {
    registry::untag(app.db(), &tag.name, &tag.key, by(&app, &actor)).await?;
    Ok(Json(Done {}))
}

pub(super) async fn set_version_tag(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Input(tag): Input<Tag>,
) -> Result<Json<Done>, MlflowError> {
    let by = by(&app, &actor);
    registry::tag_version(app.db(), &tag.name, &tag.version, tag.pair(), by).await?;
    Ok(Json(Done {}))
}

pub(super) async fn delete_version_tag(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Input(tag): Input<Tag>,
) -> Result<Json<Done>, MlflowError> {
    let by = by(&app, &actor);
    registry::untag_version(app.db(), &tag.name, &tag.version, &tag.key, by).await?;
    Ok(Json(Done {}))
}

#[derive(Deserialize)]
pub(super) struct Alias {
    #[serde(default)]
    name: String,
    #[serde(default)]
    alias: String,
    #[serde(default)]
    version: String,
}

pub(super) async fn set_alias(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Input(asked): Input<Alias>,
) -> Result<Json<Done>, MlflowError> {
    let by = by(&app, &actor);
    registry::set_alias(app.db(), &asked.name, &asked.alias, &asked.version, by).await?;
    Ok(Json(Done {}))
}

pub(super) async fn delete_alias(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Input(asked): Input<Alias>,
) -> Result<Json<Done>, MlflowError> {
    registry::remove_alias(app.db(), &asked.name, &asked.alias, by(&app, &actor)).await?;
    Ok(Json(Done {}))
}

pub(super) async fn by_alias(
    State(app): State<App>,
    Input(asked): Input<Alias>,
) -> Result<Json<OneVersion>, MlflowError> {
    let found = registry::by_alias(app.db(), &asked.name, &asked.alias).await?;
    version_shown(&app, found).await
}

#[derive(Deserialize)]
pub(super) struct Latest {
    #[serde(default)]
    name: String,
    #[serde(default, deserialize_with = "texts")]
    stages: Vec<String>,
}

#[derive(Serialize)]
pub(super) struct FoundVersions {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    model_versions: Vec<VersionView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

pub(super) async fn latest(
    State(app): State<App>,
    Input(asked): Input<Latest>,
) -> Result<Json<FoundVersions>, MlflowError> {
    let found = registry::latest(app.db(), &asked.name, &asked.stages).await?;
    Ok(Json(FoundVersions {
        model_versions: version_views(&app, found, true).await?,
        next_page_token: None,
    }))
}

#[derive(Deserialize)]
pub(super) struct Search {
    #[serde(default)]
    filter: String,
    #[serde(default, deserialize_with = "maybe_whole")]
    max_results: Option<i64>,
    #[serde(default, deserialize_with = "texts")]
    order_by: Vec<String>,
    #[serde(default)]
    page_token: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Found {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    registered_models: Vec<RegisteredModelView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

pub(super) async fn search(
    State(app): State<App>,
    Input(asked): Input<Search>,
) -> Result<Json<Found>, MlflowError> {
    let page = Page::of(asked.max_results, 100, 1000, asked.page_token.as_deref())?;
    let mut found = registry::search(app.db(), &asked.filter, &asked.order_by, page).await?;
    let next_page_token = page.cut(&mut found);
    let mut registered_models = Vec::with_capacity(found.len());
    for model in found {
        registered_models.push(view(&app, model).await?);
    }
    Ok(Json(Found {
        registered_models,
        next_page_token,
    }))
}

#[derive(Deserialize)]
pub(super) struct NewVersionInput {
    #[serde(default)]
    name: String,
    #[serde(default)]
    source: String,
    #[serde(default)]
    run_id: Option<String>,
    #[serde(default)]
    run_link: Option<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    model_id: Option<String>,
    #[serde(default)]
    tags: Vec<PairInput>,
}

pub(super) async fn create_version(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Input(new): Input<NewVersionInput>,
) -> Result<Json<OneVersion>, MlflowError> {
    let version = NewVersion {
        name: new.name,
        source: new.source,
        run: new.run_id.unwrap_or_default(),
        logged_model: new.model_id.unwrap_or_default(),
        run_link: new.run_link.unwrap_or_default(),
        user: String::new(),
    };
    let description = new.description.unwrap_or_default();
    let tags = pairs(new.tags);
    let by = by(&app, &actor);
    let made = registry::create_version(app.db(), &version, &description, &tags, by).await?;
    version_shown(&app, made).await
}

#[derive(Deserialize)]
pub(super) struct ByVersion {
    #[serde(default)]
    name: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    description: Option<String>,
}

pub(super) async fn version(
    State(app): State<App>,
    Input(asked): Input<ByVersion>,
) -> Result<Json<OneVersion>, MlflowError> {
    let found = registry::version(app.db(), &asked.name, &asked.version).await?;
    version_shown(&app, found).await
}

pub(super) async fn update_version(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Input(asked): Input<ByVersion>,
) -> Result<Json<OneVersion>, MlflowError> {
    let by = by(&app, &actor);
    let text = asked.description.unwrap_or_default();
    let found =
        registry::describe_version(app.db(), &asked.name, &asked.version, &text, by).await?;
    version_shown(&app, found).await
}

pub(super) async fn remove_version(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Input(asked): Input<ByVersion>,
) -> Result<Json<Done>, MlflowError> {
    let by = by(&app, &actor);
    registry::remove_version(app.db(), &asked.name, &asked.version, by).await?;
    Ok(Json(Done {}))
}

#[derive(Deserialize)]
pub(super) struct Transition {
    #[serde(default)]
    name: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    stage: String,
    #[serde(default)]
    archive_existing_versions: bool,
}

pub(super) async fn transition(
    State(app): State<App>,
    Extension(actor): Extension<Actor>,
    Input(asked): Input<Transition>,
) -> Result<Json<OneVersion>, MlflowError> {
    let found = registry::transition(
        app.db(),
        &asked.name,
        &asked.version,
        &asked.stage,
        asked.archive_existing_versions,
        by(&app, &actor),
    )
    .await?;
    version_shown(&app, found).await
}

#[derive(Serialize)]
pub(super) struct Uri {
    artifact_uri: String,
}

pub(super) async fn download_uri(
    State(app): State<App>,
    Input(asked): Input<ByVersion>,
) -> Result<Json<Uri>, MlflowError> {
    let artifact_uri = registry::download_uri(app.db(), &asked.name, &asked.version).await?;
    Ok(Json(Uri { artifact_uri }))
}

pub(super) async fn search_versions(
    State(app): State<App>,
    Input(asked): Input<Search>,
) -> Result<Json<FoundVersions>, MlflowError> {
    let page = Page::of(
        asked.max_results,
        10_000,
        200_000,
        asked.page_token.as_deref(),
    )?;
    let mut found =
        registry::search_versions(app.db(), &asked.filter, &asked.order_by, page).await?;
    let next_page_token = page.cut(&mut found);
    Ok(Json(FoundVersions {
        model_versions: version_views(&app, found, false).await?,
        next_page_token,
    }))
}
