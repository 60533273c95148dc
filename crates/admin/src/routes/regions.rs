//! The regions of the store.

use std::{collections::BTreeMap, time::Duration};

use axum::{Json, extract::State};

use crate::{
    api::{RegionList, RegionView},
    caller::Caller,
    error::ApiResult,
    state::AdminState,
};

/// A node that was silent for longer is not counted.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// `GET /v1/regions`
pub(crate) async fn list(State(state): State<AdminState>, caller: Caller) -> ApiResult<Json<RegionList>> {
    caller.require_root()?;
    let Some((node, _)) = &state.nodes else { return Ok(Json(RegionList { regions: Vec::new() })) };
    let members = node.members();
    let mut nodes: BTreeMap<String, u64> = BTreeMap::new();
    for member in members.into_iter().filter(|member| member.silence < SILENCE_MAX) {
        *nodes.entry(member.region).or_default() += 1;
    }
    let places = state.catalog.contents().await?.into_iter().map(|(region, place)| (region, place.name)).collect();
    Ok(Json(RegionList { regions: views(nodes, &places, &state.region) }))
}

/// Without regions all nodes have their contents at one place, whatever they call themselves.
fn views(mut nodes: BTreeMap<String, u64>, places: &BTreeMap<String, String>, own: &str) -> Vec<RegionView> {
    for region in places.keys().filter(|region| !region.is_empty()) {
        nodes.entry(region.clone()).or_default();
    }
    let everywhere = if places.keys().all(String::is_empty) { places.get("") } else { None };
    let view = |(name, nodes): (String, u64)| RegionView {
        contents: places.get(&name).or(everywhere).cloned().unwrap_or_default(),
        is_own: name == own,
        nodes,
        name,
    };
    nodes.into_iter().map(view).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::views;

    fn map<T: Clone>(pairs: &[(&str, T)]) -> BTreeMap<String, T> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
    }

    #[test]
    fn regions_are_those_with_nodes_and_those_with_contents() {
        let places = map(&[("", "s3://b/fra".to_owned()), ("fra", "s3://b/fra".to_owned()), ("iad", "s3://b/iad".to_owned())]);
        let seen = views(map(&[("fra", 2)]), &places, "fra");
        let told: Vec<_> = seen.iter().map(|view| (view.name.as_str(), view.contents.as_str(), view.nodes, view.is_own)).collect();
        assert_eq!(told, [("fra", "s3://b/fra", 2, true), ("iad", "s3://b/iad", 0, false)]);
        let alike = views(map(&[("auto", 3)]), &map(&[("", "s3://b/p".to_owned())]), "auto");
        assert_eq!((alike.len(), alike[0].contents.as_str(), alike[0].nodes), (1, "s3://b/p", 3));
    }
}
